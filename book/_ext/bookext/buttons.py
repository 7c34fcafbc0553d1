"""The launch buttons open the notebooks that the build has written, and say what that takes.

Upstream, they open what lies beside the chapter's source in the repository.  The publishing
workflow puts the notebooks, and what Binder needs to run them, on a branch of their own.
"""

from docutils import nodes
from sphinx.application import Sphinx

from .notebooks import file_names

# The branch, see tools/publish_notebooks.sh.
BRANCH = "notebooks"
ITEM = """\
<span class="btn__icon-container"><img alt="" src="{logo}"></span>
<span class="launch">{name}<small>{what}</small></span>"""
BINDER = (
    "This chapter as a notebook, everything installed. Needs no account. "
    "Starts in a minute; after a new version of the book, in about twenty."
)
COLAB = (
    "This chapter as a notebook. Needs a Google account. "
    "Starts at once; the first cell installs what is missing."
)


def setup(app: Sphinx) -> None:
    """Work after the theme has made its menus."""
    app.connect("html-page-context", lead_to_notebooks, priority=900)


def lead_to_notebooks(
    app: Sphinx, pagename: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Give the menu of the rocket its entries."""
    file = file_names().get(pagename)
    for menu in context["header_buttons"]:
        if file and menu["label"] == "launch-buttons":
            menu["buttons"] = entries(app, file, context)


def entries(app: Sphinx, file: str, context: dict) -> list[dict]:
    """Make the entries that open a notebook on Binder and on Colab."""
    options = app.config.html_theme_options
    hosts = options["launch_buttons"]
    owner, name = options["repository_url"].rstrip("/").split("/")[-2:]
    binder = f"{hosts['binderhub_url']}/v2/gh/{owner}/{name}/{BRANCH}?urlpath=lab/tree/{file}"
    colab = f"{hosts['colab_url']}/github/{owner}/{name}/blob/{BRANCH}/{file}"
    return [
        entry("Binder", "logo_binder.svg", BINDER, binder, context),
        entry("Colab", "logo_colab.png", COLAB, colab, context),
    ]


def entry(name: str, logo: str, what: str, address: str, context: dict) -> dict:
    """Make an entry; the theme itself would repeat its text for readers who do not see the logo."""
    image = context["pathto"](f"_static/images/{logo}", 1)
    return {"type": "link", "url": address, "text": ITEM.format(logo=image, name=name, what=what)}
