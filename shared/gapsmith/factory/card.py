"""A label set's card: what is in it, how it was made and what it cost, from its manifest."""

from collections.abc import Mapping
from typing import Any


def card(manifest: Mapping[str, Any]) -> str:
    """The text of ``README.md``."""
    pool, shards = manifest["pool"], manifest["shards"]
    molecules = [one for one in shards if one["kind"] == "molecules"]
    lines = [
        f"# Label set `{manifest['name']}`",
        "",
        f"Molecules of the pool `{pool['name']}` (seed {pool['seed']}) at GFN2-xTB geometries, with GFN2's electronic",
        "structure and DFT labels. Written by `gapsmith data make`, read by `gapsmith.data.label_sets.load`: docs/data.md.",
        "Licence: Apache-2.0, as the project.",
        "",
        "| level | molecules | failed | CPU-hours |",
        "|---|---|---|---|",
        f"| GFN2-xTB | {sum(one['rows'] for one in molecules)} | {sum(manifest['refused'].values())} refused | "
        f"{manifest['cpu_s'] / 3600:.2f} |",
    ]
    for version, level in manifest["levels"].items():
        own = [one for one in shards if one["level"] == version]
        failed = sum(one["failed"] for one in own)
        theory = "/".join(filter(None, (level["method"], level["basis"])))
        lines.append(
            f"| {level['name']} ({theory}, {version}) | {sum(one['rows'] for one in own) - failed} "
            f"| {failed} | {sum(one['cpu_s'] for one in own) / 3600:.2f} |"
        )
    refused = ", ".join(f"{reason} {count}" for reason, count in manifest["refused"].items()) or "none"
    size = sum(one["bytes"] for one in shards) / 1e6
    lines += [
        "",
        f"Refused drafts: {refused}.",
        "",
        f"{len(shards)} shards, {size:.2f} MB; SHA-256 in manifest.json.",
        "",
    ]
    return "\n".join(lines)
