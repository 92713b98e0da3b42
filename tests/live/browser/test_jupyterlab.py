"""What a scientist does in JupyterLab: look at a cluster, scale it, wait for it, open its dashboard, restart, use the sidebar."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from labs.pbs.lab import Lab
from live.browser.jupyter import DONE, LONG, Notebook

pytestmark = pytest.mark.timeout(400)  # of deadlines that are long, for a machine that is busy with other tests

Open = Callable[..., Notebook]
Picture = Callable[..., None]

PAGE = Path(__file__).parents[3] / "docs" / "notebook.md"
SMALL = 'worker={"cores": 1, "memory": "400 MiB"}'
NAMED = f'import clusterhub\n\ncluster = clusterhub.connect("local", name="eddies", workers=1, {SMALL})\ncluster.wait()'


def type_into(field: Locator, number: int) -> None:
    """As a person does: the number counts once the field is left."""
    field.fill(str(number))
    field.press("Tab")


def expect_a_dashboard(page: Page) -> None:
    """Dask's status page, with its plots drawn."""
    expect(page).to_have_title("Dask: Status", timeout=LONG)
    expect(page.locator(".bk-Figure").first).to_be_visible(timeout=LONG)
    expect(page.locator("canvas").first).to_be_visible(timeout=LONG)


def open_link(page: Page, link: Locator) -> Page:
    """The page that a link opens."""
    with page.context.expect_page() as opened:
        link.click()
    return opened.value


def test_a_cluster_is_a_panel_that_scales_adapts_and_opens_the_dashboard(notebook: Open) -> None:
    book = notebook(NAMED, "cluster", "print(cluster.report().target)", "cluster.close()")
    for number in range(2):
        book.run(number)
        expect(book.prompt(number)).to_have_text(DONE, timeout=LONG)
    panel = book.output(1).locator(".clusterhub-panel")
    expect(panel).to_contain_text("1 of 1 worker connected")

    type_into(panel.get_by_label("workers"), 2)
    panel.get_by_role("button", name="Scale").click()
    expect(panel).to_contain_text("2 of 2 workers connected", timeout=LONG)
    expect(panel.locator("td", has_text="connected")).to_have_count(2)

    type_into(panel.get_by_label("between"), 4)
    type_into(panel.get_by_label("and"), 3)
    panel.get_by_role("button", name="Adapt").click()
    expect(panel).to_contain_text("minimum = 4: is more than maximum = 3")
    type_into(panel.get_by_label("between"), 0)
    panel.get_by_role("button", name="Adapt").click()
    expect(panel).to_contain_text("adapts between 0 and 3", timeout=LONG)
    expect(panel).not_to_contain_text("is more than")
    book.run(2)
    expect(book.output(2)).to_have_text("0 to 3")

    for link in ("http://127.0.0.1", "through Jupyter"):
        dashboard = open_link(book.page, panel.get_by_role("link", name=link))
        expect_a_dashboard(dashboard)
        dashboard.close()
    book.run(3)
    expect(panel).to_contain_text("closed", timeout=LONG)
    expect(panel.get_by_role("button", name="Scale")).to_have_count(0)


def test_without_widgets_the_same_is_shown_as_plain_html(notebook: Open) -> None:
    book = notebook('import sys\nsys.modules["ipywidgets"] = None', NAMED, "cluster")
    book.run_all()
    expect(book.output(2)).to_contain_text("1 of 1 worker connected")
    expect(book.output(2).get_by_role("link")).to_have_count(2)
    expect(book.output(2).locator(".jupyter-widgets")).to_have_count(0)


@pytest.fixture
def pbs(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The stand-in for PBS, and a profile of a site that has it."""
    if sys.platform != "linux":
        pytest.skip("the stand-in for PBS lives on /proc")
    lab = Lab(tmp_path / "pbs", home)
    nodes = {name: {"ncpus": 8, "mem": "64gb"} for name in ("node-1", "node-2")}
    lab.up(nodes=nodes, poll=0.5)
    monkeypatch.setenv("PATH", f"{lab.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOSTNAME", "login")
    (home / ".clusterhub.yaml").write_text(
        "profiles:\n"
        "  hal:\n"
        "    backend: pbs\n"
        "    worker: {cores: 4, memory: 1 GiB}\n"
        "    job: {walltime: 1h, workers_per_job: 1}\n"
    )
    yield lab
    lab.down()


def test_waiting_shows_the_queue_live_with_its_reasons_and_keeps_what_is_clicked_meanwhile(
    notebook: Open, pbs: Lab, picture: Picture
) -> None:
    pbs.fault("node-down", "node-2")
    book = notebook(
        'import clusterhub\n\ncluster = clusterhub.connect("hal", name="eddies", workers=2)\ncluster.wait()\ncluster',
        "cluster.wait(3)",
        "print(len(cluster.get_client().scheduler_info()['workers']))\ncluster.close()",
    )
    book.run(0)
    panel = book.output(0).locator(".clusterhub-panel")
    expect(panel).to_contain_text("2 of 2 workers connected", timeout=LONG)
    type_into(panel.get_by_label("workers"), 3)
    panel.get_by_role("button", name="Scale").click()
    expect(panel.locator("td", has_text="pending")).to_have_count(1, timeout=LONG)

    book.run(1)
    waiting = book.output(1).locator(".clusterhub-report")
    for shown in (panel, waiting):
        expect(shown).to_contain_text("Insufficient amount of resource: ncpus (R: 4 A: 0", timeout=LONG)
    expect(waiting).to_contain_text(re.compile(r"00:0[3-9]|00:[1-5]|0[1-9]:"), timeout=LONG)
    picture("notebook-panel", panel)
    picture("notebook-waiting", book.cell(1).locator(".jp-Cell-outputArea"))
    type_into(panel.get_by_label("between"), 4)
    panel.get_by_role("button", name="Adapt").click()
    expect(book.prompt(1)).to_have_text("[*]:")
    pbs.fault("node-up", "node-2")
    expect(book.prompt(1)).to_have_text(DONE, timeout=LONG)
    for shown in (panel, waiting):
        expect(shown).to_contain_text("3 of 3 workers connected")
    expect(panel).to_contain_text("minimum = 4: is more than maximum = 3", timeout=LONG)
    book.run(2)
    expect(book.output(2)).to_have_text("3", timeout=LONG)


def test_restart_the_kernel_and_run_all_finds_the_named_cluster_again(notebook: Open) -> None:
    book = notebook(
        NAMED,
        "client = cluster.get_client()\nprint(client.list_datasets())",
        "client.publish_dataset(sum=client.submit(sum, range(10)), override=True)\nprint(cluster.report().started.isoformat())",
    )
    book.run_all()
    expect(book.output(1)).to_have_text("()")
    began = book.output(2).inner_text()
    book.restart_and_run_all()
    expect(book.output(1)).to_have_text("('sum',)", timeout=LONG)
    book.done()
    expect(book.output(2)).to_have_text(began)


def test_the_sidebar_makes_a_cluster_and_the_code_it_inserts_computes_on_it(
    notebook: Open, home: Path, picture: Picture
) -> None:
    (home / ".clusterhub.yaml").write_text(
        "default: laptop\nprofiles:\n  laptop: {backend: local, workers: 1, worker: {cores: 1, memory: 400 MiB}}\n"
    )
    folder = home / ".config" / "dask"
    folder.mkdir(parents=True)
    (config,) = re.findall(r"<!-- labextension -->\n```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (folder / "labextension.yaml").write_text(config)
    book = notebook(
        "import time\n\ndef slowly(n):\n    time.sleep(0.1)\n    return n",
        "sum(client.gather(client.map(slowly, range(20))))",
    )
    page = book.page
    page.get_by_role("tab", name="Dask").click()
    sidebar = page.locator(".dask-DaskSidebar")
    sidebar.get_by_role("button", name="New").click()
    item = sidebar.locator(".dask-ClusterListingItem")
    expect(item).to_contain_text(re.compile(r"laptop-\w{6}"), timeout=LONG)
    expect(item).to_contain_text("Number of Cores: 1", timeout=LONG)

    expect(sidebar.get_by_role("button", name="Task Stream", exact=True)).to_be_enabled(timeout=LONG)
    book.order("Launch Dask Dashboard Layout")
    plots = page.locator(".dask-DaskDashboard-widget iframe")
    expect(plots).to_have_count(3, timeout=LONG)
    for number in range(3):
        expect(plots.nth(number).content_frame.locator("canvas").first).to_be_visible(timeout=LONG)

    book.prompt(0).click()
    item.get_by_title("Inject client code").click()
    expect(book.panel.locator(".jp-CodeCell", has_text="hub://laptop-")).to_be_visible()
    book.run_all()
    expect(book.output(2)).to_have_text("190")
    picture("notebook-sidebar", page)
    item.get_by_title("Shutdown").click()
    expect(item).to_have_count(0, timeout=LONG)


def test_below_a_named_server_of_a_jupyterhub_the_dashboard_opens_through_it(notebook: Open) -> None:
    base = "/user/ann/lab2/"
    hub = {"JUPYTERHUB_SERVICE_PREFIX": base, "JUPYTERHUB_USER": "ann"}
    book = notebook(NAMED, "cluster", base=base, environment=hub)
    book.run_all()
    link = book.output(1).get_by_role("link")
    expect(link).to_have_attribute("href", re.compile(rf"^{base}proxy/\d+/[\w-]{{22}}/status$"))
    expect_a_dashboard(open_link(book.page, link))
