"""Great Expectations over the manifest: an independent check, its Data Docs, and the verdict.

`prepare` names what is wrong with single files. Here those files are left out or not, as
`data.on_problem` says, and a suite built in code checks whatever remains.
"""

# Great Expectations re-exports its expectations in a way that mypy --strict does not accept.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lookalike.config import DataConfig
from lookalike.data.layouts.layout import Layout, Problem, count
from lookalike.data.layouts.sources import SOURCES
from lookalike.data.manifest import SPLITS
from lookalike.data.prepare import matches
from lookalike.errors import UserError
from lookalike.names import counted

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LISTED = 10  # problems spelled out in a message; the verdict has all of them
REQUIRED = (
    *("member", "image_id", "person_id", "camera_id", "split"),
    *("width", "height", "sha256"),
)
SIDES = {"train": "train", "val": "val", "query": "test", "gallery": "test", "other": "other"}
OWN = [split for split in SPLITS if split != "other"]


@dataclass(frozen=True)
class Verdict:
    """What validation found; `accepted` is the manifest that later stages may use."""

    success: bool
    accepted: pd.DataFrame
    expectations: list[dict[str, Any]]  # table, expectation, column, severity, success, observed
    problems: list[dict[str, str]]  # file, problem, detail
    quarantined: list[str]  # files left out of `accepted`, those of no manifest row included

    def to_json(self) -> dict[str, Any]:
        """Everything but the manifest."""
        return {
            "success": self.success,
            "images": len(self.accepted),
            "quarantined": self.quarantined,
            "problems": self.problems,
            "expectations": self.expectations,
        }

    def summary(self) -> str:
        """What was found, for a person: kinds of problems, the first files, failed expectations."""
        kinds = Counter(problem["problem"] for problem in self.problems)
        failed = [check for check in self.expectations if not check["success"]]
        head = "the data is valid" if self.success else "the data is not valid"
        parts = [f"{number} x {kind}" for kind, number in sorted(kinds.items())]
        images = counted(len(self.accepted), "image")
        lines = [f"{head}: {images}, problems: {', '.join(parts) or 'none'}"]
        if self.quarantined:
            left_out = counted(len(self.quarantined), "file")
            lines.append(f"left out {left_out} (data.on_problem: quarantine)")
        lines += [
            f"  {problem['file']}: {problem['problem']}: {problem['detail']}"
            for problem in self.problems[:LISTED]
        ]
        if len(self.problems) > LISTED:
            lines.append(f"  and {len(self.problems) - LISTED:,} more, all in verdict.json")
        # A failed expectation about the table of problems says nothing that is not said above.
        lines += [
            f"  {check['table']}.{check['column']}: {check['expectation']}: {check['observed']}"
            for check in failed
            if check["table"] != "problems"
        ][:LISTED]
        return "\n".join(lines)

    def check(self) -> None:
        """Raise unless the data may be used.

        Raises:
            UserError: the summary, which names the files.
        """
        if not self.success:
            advice = "mend the files, or set data.on_problem: quarantine to leave them out"
            raise UserError(f"{self.summary()}\n{advice}")


def validate_manifest(
    manifest: pd.DataFrame, problems: pd.DataFrame, config: DataConfig, docs_folder: Path
) -> Verdict:
    """Judge the data and write Data Docs (static HTML, `index.html`) to `docs_folder`.

    Under `fail` any problem and any failed expectation fails. Under `quarantine` the files that
    `problems` names are left out first; then the problems and the published counts only warn, and
    any other failed expectation still fails. A person in two splits loses the training images.

    Args:
        manifest: of `prepare`.
        problems: columns `file`, `problem`, `detail`; of `prepare`.
        config: its `on_problem`, and the layouts: names, crop sizes and counts are expected where
            they have them, the last two unless `as_published` is false.
        docs_folder: replaced if it is there.
    """
    listed = [Problem(*row) for row in problems[list(Problem._fields)].itertuples(index=False)]
    quarantine = config.on_problem == "quarantine"
    quarantined = sorted({problem.file for problem in listed}) if quarantine else []
    accepted = manifest[~manifest["member"].isin(quarantined)].reset_index(drop=True)
    lenient = "warning" if quarantine else "critical"

    tables = _tables(accepted, problems, config)
    expectations = _run(tables, _suites(config, lenient), docs_folder)
    return Verdict(
        success=not any(
            check["severity"] == "critical" and not check["success"] for check in expectations
        ),
        accepted=accepted,
        expectations=expectations,
        problems=[problem._asdict() for problem in listed],
        quarantined=quarantined,
    )


def _tables(
    manifest: pd.DataFrame, problems: pd.DataFrame, config: DataConfig
) -> dict[str, pd.DataFrame]:
    """The tables that are validated; the first column of each names a row in messages."""
    everything = manifest[[*REQUIRED, "origin"]].copy()
    everything["file"] = everything["member"].str.rsplit("/", n=1).str[-1]
    # Junk is never used, so its bytes may repeat.
    everything["used_sha256"] = everything["sha256"].where(everything["split"] != "junk")
    images = everything[everything["split"] != "other"]

    sides = everything.assign(side=everything["split"].map(SIDES)).dropna(subset="side")
    persons = sides.groupby("person_id")["side"].agg(lambda side: "+".join(sorted(set(side))))

    queries = images.loc[images["split"] == "query", ["member", "person_id", "camera_id"]].copy()
    queries["matches"] = matches(queries, images[images["split"] == "gallery"])

    tables = {
        "images": images,
        "persons": persons.rename("side").reset_index(),
        "queries": queries,
        "problems": problems,
    }
    if config.others:
        tables["all-images"] = everything[["member", "image_id", "used_sha256"]]
    for name in sorted(config.others):
        is_of = everything["person_id"].str.startswith(f"{name}/")
        tables[f"images-{name}"] = everything[is_of & (everything["split"] == "other")]
    published = SOURCES[config.source].counts
    if published is not None and config.as_published:
        splits = images["split"].replace("val", "train")
        found = count(zip(splits, images["person_id"], strict=True))
        tables["counts"] = pd.DataFrame(
            [
                {
                    "split": split,
                    "images": found[split].images,
                    "published_images": expected.images,
                    "persons": found[split].persons,
                    "published_persons": expected.persons,
                }
                for split, expected in published.items()
            ]
        )
    return tables


def _suites(config: DataConfig, lenient: str) -> dict[str, list[Expectation]]:
    """What is expected of each table; `lenient` is the severity of what quarantine may break."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    severity = FailureSeverity(lenient)

    def unique() -> list[Expectation]:
        columns = ("image_id", "member", "used_sha256")
        return [gxe.ExpectColumnValuesToBeUnique(column=name) for name in columns]

    def images(layout: Layout, splits: list[str], needed: list[str]) -> list[Expectation]:
        suite = [
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in REQUIRED),
            *unique(),
        ]
        if layout.names is not None:
            # pandas warns of groups with a name
            regex = re.sub(r"\?P<\w+>", "?:", f"^{layout.names.pattern}$")
            suite.append(gxe.ExpectColumnValuesToMatchRegex(column="file", regex=regex))
        suite += [
            gxe.ExpectColumnValuesToMatchRegex(column="sha256", regex="^[0-9a-f]{64}$"),
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=splits),
            gxe.ExpectColumnDistinctValuesToContainSet(column="split", value_set=needed),
            gxe.ExpectColumnValuesToBeInSet(column="origin", value_set=["real"]),
            gxe.ExpectColumnValuesToBeBetween(column="camera_id", min_value=1),
        ]
        if layout.crop is not None and config.as_published:
            width, height = layout.crop
            suite += [
                gxe.ExpectColumnValuesToBeInSet(column="width", value_set=[width]),
                gxe.ExpectColumnValuesToBeInSet(column="height", value_set=[height]),
            ]
        return suite

    return {
        "images": images(SOURCES[config.source], OWN, ["train", "val", "query", "gallery"]),
        "all-images": unique(),
        **{
            f"images-{name}": images(SOURCES[source], ["other"], ["other"])
            for name, source in config.others.items()
        },
        "persons": [
            gxe.ExpectColumnValuesToBeInSet(column="side", value_set=sorted(set(SIDES.values())))
        ],
        "queries": [
            gxe.ExpectColumnValuesToBeBetween(column="matches", min_value=1),
            gxe.ExpectColumnValuesToBeBetween(column="camera_id", min_value=1),
        ],
        "problems": [gxe.ExpectTableRowCountToEqual(value=0, severity=severity)],
        "counts": [
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A=name, column_B=f"published_{name}", severity=severity
            )
            for name in ("images", "persons")
        ],
    }


def _run(
    tables: dict[str, pd.DataFrame], suites: dict[str, list[Expectation]], docs_folder: Path
) -> list[dict[str, Any]]:
    """Validate every table against its suite and render the outcome."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("lookalike")
    checks = []
    for table, frame in tables.items():
        batch = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        suite = gx.ExpectationSuite(name=table, expectations=suites[table])
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=table, data=batch, suite=context.suites.add(suite))
        )
        key = str(frame.columns[0])
        result = definition.run(
            batch_parameters={"dataframe": frame},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
        )
        checks += [_check(table, one) for one in result.results]

    shutil.rmtree(docs_folder, ignore_errors=True)
    docs_folder.mkdir(parents=True)
    context.update_data_docs_site(
        "local_site",
        {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                # Great Expectations replaces $HOME and the like by what the environment says.
                "base_directory": str(docs_folder.resolve()).replace("$", r"\$"),
            },
        },
    )
    context.build_data_docs()
    return checks


def _check(table: str, result: Any) -> dict[str, Any]:
    """One expectation's outcome as plain JSON; a failed one names the first rows."""
    settings = result.expectation_config
    unexpected = result.result.get("unexpected_index_list") or []
    if unexpected:
        rows = [" ".join(f"{k}={v}" for k, v in sorted(row.items())) for row in unexpected[:LISTED]]
        observed = ", ".join(rows)
        if len(unexpected) > LISTED:
            observed += f" and {len(unexpected) - LISTED:,} more"
    elif result.exception_info.get("exception_message"):
        observed = str(result.exception_info["exception_message"])
    else:
        observed = str(result.result.get("observed_value", "as expected"))
    return {
        "table": table,
        "expectation": settings.type,
        "column": settings.kwargs.get("column") or settings.kwargs.get("column_A") or "rows",
        "severity": settings.severity.value,
        "success": bool(result.success),
        "observed": observed,
    }
