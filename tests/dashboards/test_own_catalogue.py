"""Dashboards and alerts for one's own catalogue: the command, what it leaves out, and real answers to its queries."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gatewayz_metrics.catalogue import Catalogue, load, parse_catalogue

from dashboards import alerts_file, generate
from dashboards.__main__ import main
from tests.dashboards import asking, reading
from tests.dashboards.catalogues import SHOP, extended_text, made
from tests.dashboards.conftest import Stage
from tests.dashboards.reading import Document
from tests.provisioning.promtool import promtool
from tests.support.client import serving
from tests.support.engine import Engine
from tests.support.samples import END

SHOP_BOARDS = ["gw-service", "gw-overview", "gw-tills", "gw-storage-rooms", "gw-service-2"]


def titles(board: Document) -> list[str]:
    return [panel["title"] for panel in board["panels"]]


def written(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*") if path.is_file()}


# The command.


def test_the_files_of_another_system_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--catalogue", str(SHOP), "--out", str(tmp_path / "mine")]) == 0

    assert written(tmp_path / "mine") == made("shop").files()
    assert [board["uid"] for board in made("shop").documents] == SHOP_BOARDS
    said = capsys.readouterr().out
    assert "7 files written below mine/.\n" in said
    assert "Left out: HTTP. The catalogue has no series named 'fastapi_requests_total'.\n" in said


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    for name in ("shop", "customers", "extended"):
        file = tmp_path / f"{name}.yml"
        file.write_text(made(name).files()[generate.RULES], encoding="utf-8")
        content, said = promtool("check", "rules", "--lint=all", "--lint-fatal", file)

        assert content, said
        assert f"{len(made(name).alerts) + (4 if name == 'extended' else 0)} rules found" in said


def test_without_arguments_it_is_the_built_in_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0

    assert "Left out" not in capsys.readouterr().out
    for name, text in written(tmp_path).items():
        assert text == (generate.ROOT / name).read_text("utf-8"), name


def test_boards_that_are_no_longer_made_go_and_foreign_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / generate.BOARDS
    folder.mkdir(parents=True)
    for name in ("gw-http.json", "my-own.json"):
        (folder / name).write_text("{}", encoding="utf-8")

    main(["--catalogue", str(SHOP), "--out", str(tmp_path)])

    assert {path.stem for path in folder.iterdir()} == {*SHOP_BOARDS, "my-own"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title = ", "is not valid TOML"),
        ('title = "X"\n[categories]\n[sections]\n[families.a]\ntype = "meter"', "the family a, "),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_catalogue_is_one_sentence(text: str | None, complaint: str, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "dashboards", "--catalogue", str(file), "--out", str(out)]
    env = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"dashboards: The catalogue {file} ")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")

    assert main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("dashboards: ")


# What is on the boards.


def test_a_panel_follows_from_the_type() -> None:
    tills = reading.board("gw-tills", made("shop"))
    shown = {panel["title"]: panel for panel in reading.panels(tills)}

    assert tills["title"] == "Shop / Tills"
    assert tills["description"] == "Tills and what goes over them."
    assert titles(tills) == [
        *("Rates", "Till sales", "Till refunds"),
        *("Values", "Till temperature celsius", "Till queue length"),
        *("Distributions", "Till wait", "Till wait, distribution", "Till wait seconds quantile", "Till scan"),
    ]
    assert {title: [query["legendFormat"] for query in panel["targets"]] for title, panel in shown.items()} == {
        "Till sales": ["{{till}} {{payment}}"],
        "Till refunds": ["Till refunds"],
        "Till temperature celsius": ["{{till}}"],
        "Till queue length": ["{{till}}"],
        "Till wait": ["p50 {{till}}", "p95 {{till}}", "p99 {{till}}"],
        "Till wait, distribution": ["{{le}}"],
        "Till wait seconds quantile": ["p90"],
        "Till scan": ["{{till}}"],
    }
    assert shown["Till wait, distribution"]["type"] == "heatmap"
    assert shown["Till scan"]["fieldConfig"]["defaults"]["unit"] == "s"
    assert shown["Till sales"]["fieldConfig"]["defaults"]["unit"] == "suffix: sales/s"


def test_two_families_in_the_same_words_go_by_their_names() -> None:
    rooms = titles(reading.board("gw-storage-rooms", made("shop")))

    assert {"room_goods", "room_goods_total", "Room moves"} <= set(rooms)
    assert {"tills.level", "stock.level", "Wait"} <= set(titles(reading.board("gw-overview", made("shop"))))


def test_a_deployment_is_chosen_by_the_label_that_the_catalogue_names() -> None:
    _, env = reading.variables(reading.board("gw-tills", made("shop")))

    assert env["name"] == "env"
    assert env["query"]["query"] == 'label_values(till_sales_total{aggregated_by=""}, site)'
    for board in made("customers").documents:
        assert "env" not in {variable["name"] for variable in reading.variables(board)}


def test_a_written_board_is_there_when_the_catalogue_has_all_of_it() -> None:
    uids = [board["uid"] for board in made("customers").documents]

    # Tokens stand on boards of their own: Business shows no family of theirs.
    assert uids == ["gw-business", "gw-service", "gw-overview", "gw-models", "gw-business-2"]
    assert "Credits used" not in titles(reading.board("gw-models", made("customers")))
    # The written Providers is not there, so nothing leads to it.
    assert "/d/" not in json.dumps(made("customers").documents)


def test_alerts_are_those_with_families_and_panel() -> None:
    assert {alert.name: (alert.board, alert.panel) for alert in made("shop").alerts} == {
        "upstream-down": ("gw-service", "Upstream over time"),
        "no-data": ("gw-tills", "Till sales"),
    }
    assert [alert.name for alert in made("extended").alerts] == [alert.name for alert in made().alerts]
    silence = made("shop").alerts[-1]
    assert alerts_file.expression(made("shop").metrics, silence) == 'absent(till_sales_total{aggregated_by=""})'
    assert silence.title == "Shop sends no metrics"


_HEAD = """
title = "Odd"
[categories]
service = "A."
Service = "B."
_ = "C."
[sections]
"""
_GAUGE = '[families.{name}]\ntype = "gauge"\nunit = "x"\nhelp = "x"\ncategories = ["{category}"]\n'


def odd(**gauges: str) -> Catalogue:
    families = "".join(_GAUGE.format(name=name, category=category) for name, category in gauges.items())
    return parse_catalogue(_HEAD + families, "odd.toml")


def test_names_that_clash_are_numbered() -> None:
    found = generate.generate(odd(a="service", b="Service", c="_"))

    assert {board["uid"]: board["title"] for board in found.documents} == {
        "gw-service": "Odd / Service",
        "gw-service-2": "Odd / Service 2",
        "gw-service-3": "Odd / Service 3",
        "gw-board": "Odd / Board",
    }


def test_without_a_counter_the_first_family_tells_that_there_is_data() -> None:
    found = generate.generate(odd(a="service"))

    assert [(alert.name, alert.board, alert.panel) for alert in found.alerts][1:] == [("no-data", "gw-service-2", "A")]


def test_an_empty_catalogue_has_the_board_of_the_service() -> None:
    found = generate.generate(odd())

    assert [board["uid"] for board in found.documents] == ["gw-service"]
    assert [alert.name for alert in found.alerts] == ["upstream-down"]


# The built-in catalogue and one more category.


def test_a_new_category_gets_its_board_and_changes_no_other() -> None:
    labs = reading.board("gw-labs", made("extended"))

    assert [board for board in made("extended").documents if board is not labs] == made().documents
    assert (labs["uid"], labs["title"], labs["description"]) == ("gw-labs", "GatewayZ / Labs", "Experiments.")
    assert titles(labs) == ["Rates", "Lab experiments"]


def test_a_new_category_gets_its_route(prometheus: Engine, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(extended_text(), encoding="utf-8")
    with serving(prometheus.url, catalogue=file) as client:
        page = client.get("/prometheus/metrics/labs", params={"time": END})

    assert page.status_code == 200
    assert "# HELP lab_experiments_total Experiments begun." in page.text


def test_a_family_in_a_known_category_gets_a_board_beside_the_written_one() -> None:
    text = extended_text().replace('categories = ["labs"]', 'categories = ["models"]')
    found = generate.generate(parse_catalogue(text, "mine.toml"))

    second = reading.board("gw-models-2", found)
    assert [board for board in found.documents if board is not second] == made().documents
    assert second["title"] == "GatewayZ / Models 2"


def test_a_new_section_gets_its_numbers() -> None:
    text = extended_text().replace("[sections]\n", '[sections]\nlabs = "Labs."\n')
    text += '[statistics.labs.running]\nunit = "labs"\nhelp = "Labs."\nexpr = "sum(lab_experiments_total{$selector})"\n'
    board = reading.board("gw-overview-2", generate.generate(parse_catalogue(text, "mine.toml")))

    assert titles(board) == ["Service", "Metrics service", "Labs", "Running"]


# Real answers.


@pytest.mark.parametrize("uid", SHOP_BOARDS)
def test_every_query_is_one_that_prometheus_answers(shop: Stage, uid: str) -> None:
    for target in reading.targets(reading.board(uid, made("shop")), "prometheus"):
        found = asking.values_of(asking.answer_to(shop, target, {"env": "north"}))
        # This Prometheus does not scrape the service.
        assert bool(found) == (uid != "gw-service" or target.panel["type"] == "state-timeline"), target.place


def test_every_variable_has_values(shop: Stage) -> None:
    _, env = reading.variables(reading.board("gw-tills", made("shop")))
    selector, label = reading.label_values(env)
    answer = shop.client.get(f"/api/v1/label/{label}/values", params={"match[]": selector, **asking.span(shop)})

    assert answer.json()["data"] == ["north", "south"]


def test_every_statistic_is_a_number(shop: Stage) -> None:
    shown = {}
    for target in reading.targets(reading.board("gw-overview", made("shop"))):
        row = asking.row_of(shop, target)
        (column,) = (column["selector"] for column in target.query["columns"])
        shown[target.panel["title"]] = row[column]

    assert shown.pop("Metrics service") == "ok"
    assert shown == {
        "tills.level": 3600 * 6,
        "Sales per minute": pytest.approx(360),
        "Wait": pytest.approx(25_000),
        "stock.level": 280,
    }


def test_every_alert_can_be_asked_and_none_fires(shop: Stage) -> None:
    for alert in made("shop").alerts:
        found = asking.values_of(asking.instant(shop, alerts_file.expression(made("shop").metrics, alert)))
        assert not [value for value in found if asking.fires(alert, value)]


def test_the_shop_is_no_gateway() -> None:
    assert not {family.name for family in load(SHOP).families} & {family.name for family in load().families}
