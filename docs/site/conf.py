"""Configuration of Sphinx."""

from importlib.metadata import version as version_of

project = "gapsmith"
author = "The gapsmith contributors"
release = version = version_of("gapsmith")
extensions = ["myst_parser"]
exclude_patterns = ["README.md"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = "gapsmith"
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_style, pygments_dark_style = "friendly", "native"
highlight_language = "none"  # of blocks that do not name one
smartquotes = False  # option names keep their dashes
