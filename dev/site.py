"""What `make docs` needs beside mkdocs.yml: the repository's address, and links out of docs/.

A page of docs/ links to files of the repository as it does on a code host (`../dev/LOG.md`). The site has no such
files, so these links are sent to the repository's address. A link to a file that does not exist fails the build, and so
does a list right below a line of text: a code host shows it as a list, the site as one paragraph.
"""

import re
import tomllib
from pathlib import Path

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[1]
# [text](target): the target of a relative link that goes up at least one folder
LIST_BELOW_TEXT = re.compile(r"^(?!- |\d+\. |\s|\||#|<).*\S.*\n(?=- |1\. )", re.MULTILINE)
LINK_UPWARDS = re.compile(r"(?<=\]\()(\.\./[^)#\s]*)")


def on_config(config):
    """The repository's address, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    config.repo_url = project["urls"]["Repository"]
    config.repo_name = config.site_name
    return config


def on_page_markdown(markdown, page, config, files):
    """Sends links to files outside docs/ to the repository."""
    joined = LIST_BELOW_TEXT.search(markdown)
    if joined:
        raise PluginError(f"{page.file.src_uri}: an empty line is missing above the list below {joined[0].strip()!r}")
    docs = Path(config.docs_dir)
    folder = (docs / page.file.src_uri).parent

    def resolved(match):
        target = (folder / match[1]).resolve()
        if target.is_relative_to(docs):
            return match[1]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri}: no file at {match[1]}")
        return f"{config.repo_url}/blob/main/{target.relative_to(ROOT)}"

    return LINK_UPWARDS.sub(resolved, markdown)
