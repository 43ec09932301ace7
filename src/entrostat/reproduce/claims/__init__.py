"""One file a claim: its statement, runs, criterion and judge. Its name is its paper's letter (c: neither) and a number."""
