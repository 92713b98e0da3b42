"""The distribution as others get it: built, installed elsewhere, with a third party's plugin beside it."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from docs.console import commands, differences, session
from docs.pages import blocks_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "write-a-backend.md"
pytestmark = pytest.mark.timeout(600)


def run(*command: object, cwd: Path, timeout: float = 500) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of the sdist, so that both are seen to be whole."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", target, ROOT, cwd=target)
    return next(target.glob("*.whl"))


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of another environment, in which the wheel and pytest are installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, "pytest", cwd=folder)
    return python


def install(python: Path, folder: Path) -> None:
    """The distribution in ``folder``, whose dependency, clusterhub, is there already and on no index."""
    backend = ("hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", *backend, cwd=folder)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", folder, cwd=folder)


def test_the_wheel_holds_both_packages_and_their_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"clusterhub/py.typed", "clusterhub_backends/py.typed", "clusterhub_backends/local.py"} <= set(names)
    assert {name.split("/")[0] for name in names} == {
        "clusterhub", "clusterhub_backends", f"{wheel.name.split('-py3')[0]}.dist-info",
    }  # fmt: skip


def test_the_installed_wheel_works(elsewhere: Path, tmp_path: Path) -> None:
    assert "local" in run(elsewhere, "-m", "clusterhub", "backends", cwd=tmp_path)
    script = tmp_path / "analysis.py"
    script.write_text("from distributed import Client\nprint(Client().submit(sum, range(10)).result())\n")
    out = run(elsewhere.parent / "clusterhub", "run", "local", "--workers", "1", script, cwd=tmp_path)
    assert out.strip() == "45"


def test_the_plugin_of_the_docs_page_passes_the_suite_beside_the_wheel(elsewhere: Path, tmp_path: Path) -> None:
    files = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert set(files) == {"pyproject.toml", "clusterhub_subprocesses.py", "test_subprocesses.py"}
    backend = files["clusterhub_subprocesses.py"]
    assert len(backend.splitlines()) <= 60, "the page promises 60 lines"
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    install(elsewhere, tmp_path)
    assert "clusterhub-subprocesses 1.0" in run(elsewhere, "-m", "clusterhub", "backends", cwd=tmp_path)
    out = run(
        elsewhere, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_subprocesses.py", cwd=tmp_path
    )
    assert re.search(r"\d+ passed", out)
    assert "failed" not in out


def test_the_site_s_package_of_the_docs_page_gives_its_profiles_to_whoever_installs_it(
    elsewhere: Path, tmp_path: Path
) -> None:
    folder, home = tmp_path / "package", tmp_path / "home"
    home.mkdir()
    page = blocks_of(ROOT / "docs" / "site.md")
    for block in page:
        if block.file and not block.file.startswith("~/"):
            block.write(folder, home)
    install(elsewhere, folder)
    assert any("packaged" in block.marks for block in page)
    for block in page:
        if block.file.startswith("~/"):
            block.write(folder, home)
        elif "packaged" in block.marks:
            found = commands(block.text)
            printed = list(session([command.line for command in found], tmp_path, home, 60, elsewhere))
            assert differences(found, printed) == []
