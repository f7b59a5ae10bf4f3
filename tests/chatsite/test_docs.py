"""What the documents say is what the code does."""

import re

from tests.server import ROOT

READS = re.compile(r'env_(?:str|bool|number|list|choice|url)\(\s*"([A-Z_]+)"')


def _read_by_the_code() -> set[str]:
    sources = (ROOT / "chatsite").rglob("*.py")
    return {name for source in sources for name in READS.findall(source.read_text())}


def test_the_readme_lists_every_setting_and_no_other() -> None:
    readme = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^\| `([A-Z_]+)` \|", readme, re.MULTILINE))
    assert len(listed) > 15
    assert listed == _read_by_the_code()


def test_the_example_environment_names_only_settings_that_exist() -> None:
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert "COMPLETIONS_URL" in named
    assert named <= _read_by_the_code()
