"""`python -m entrostat` is the command `entrostat`."""

from entrostat.cli import script

if __name__ == "__main__":
    script()
