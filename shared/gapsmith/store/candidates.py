"""Candidates, their molecules, conformers and predictions. Only this module changes candidates: a function an arrow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from gapsmith.core.codec import decode, encode
from gapsmith.core.domain import Molecule
from gapsmith.core.lifecycle import CandidateState, Outcome
from gapsmith.core.properties import Estimate
from gapsmith.core.reasons import Reason, ReasonCode
from gapsmith.core.target import Target
from gapsmith.store import fingerprints
from gapsmith.store.database import Connection

if TYPE_CHECKING:  # RDKit is heavy, and the query command must not pay for it
    from gapsmith.core.chemistry.identity import Identity


@dataclass(frozen=True)
class Prediction:
    """What the surrogate says of one candidate."""

    candidate_id: UUID
    properties: Mapping[str, Estimate]  # by name
    out_of_distribution: bool
    correlations: Mapping[str, float] = field(default_factory=dict)  # of their errors, by core.properties.pair


def predicted_gap_ev(connection: Connection, calculation_id: UUID) -> tuple[float, float] | None:
    """Mean and standard deviation that the surrogate predicts for a triage calculation; None where nobody did."""
    row = connection.execute(
        """SELECT predicted_gap_ev AS mean, predicted_gap_std_ev AS deviation FROM candidates
           WHERE triage_id = %s AND predicted_gap_ev IS NOT NULL AND predicted_gap_std_ev IS NOT NULL ORDER BY id LIMIT 1""",
        (calculation_id,),
    ).fetchone()
    return None if row is None else (row["mean"], row["deviation"])


def add_molecule(connection: Connection, identity: "Identity", *, in_qm9: bool) -> int:
    """Find or store a molecule by InChIKey; returns its id."""
    new = connection.execute(
        """INSERT INTO molecules (inchikey, smiles, formula, heavy_atoms, sa_score, in_qm9, fingerprint)
           VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (inchikey) DO NOTHING RETURNING id""",
        (
            identity.inchikey,
            identity.smiles,
            identity.formula,
            identity.heavy_atoms,
            identity.sa_score,
            in_qm9,
            identity.fingerprint,
        ),
    ).fetchone()
    if new is not None:
        fingerprints.store(connection, [(new["id"], identity.smiles, identity.fingerprint)])
        return int(new["id"])
    row = connection.execute("SELECT id FROM molecules WHERE inchikey = %s", (identity.inchikey,)).fetchone()
    assert row is not None  # it was there before
    return int(row["id"])


def smiles(connection: Connection, molecule_ids: Sequence[int]) -> dict[int, str]:
    """Canonical SMILES of those of the molecules that there are."""
    rows = connection.execute("SELECT id, smiles FROM molecules WHERE id = ANY(%s)", (list(molecule_ids),))
    return {row["id"]: row["smiles"] for row in rows}


def add_conformer(
    connection: Connection,
    molecule: Molecule,
    *,
    method: str,
    molecule_id: int | None,
    energy_hartree: float | None = None,
    properties: Mapping[str, float] | None = None,
) -> UUID:
    """Store a geometry, how it was made, and values of properties by that method; returns its id."""
    conformer_id = uuid4()
    connection.execute(
        """INSERT INTO conformers (id, molecule_id, method, numbers, coordinates_angstrom, bonds, charges,
                                   energy_hartree, properties) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            conformer_id,
            molecule_id,
            method,
            *encode(molecule),
            energy_hartree,
            Jsonb(dict(properties or {})),
        ),
    )
    return conformer_id


def propose(
    connection: Connection,
    campaign_id: UUID,
    molecule: Molecule,
    identity: "Identity",
    *,
    model_id: UUID,
    in_qm9: bool,
    refused: Reason | None = None,
    parent_id: UUID | None = None,
    mask_fraction: float | None = None,
) -> tuple[UUID, bool]:
    """Store a generated molecule as a candidate.

    Args:
        connection: in a transaction.
        campaign_id: whose candidate it is.
        molecule: as generated.
        identity: its graph.
        model_id: of the generator.
        in_qm9: whether QM9 has it.
        refused: why the campaign's constraints refuse it, if they do.
        parent_id: what it was regrown from.
        mask_fraction: how much of the parent was redrawn.

    Returns:
        Its id, and whether it is open (neither refused nor known in this campaign already).
    """
    molecule_id = add_molecule(connection, identity, in_qm9=in_qm9)
    conformer_id = add_conformer(connection, molecule, method="generated", molecule_id=molecule_id)
    candidate_id = uuid4()
    insert = """INSERT INTO candidates (id, campaign_id, molecule_id, conformer_id, model_id, parent_id, mask_fraction,
                                        state, reason_code, reason)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT DO NOTHING RETURNING id"""
    values = (candidate_id, campaign_id, molecule_id, conformer_id, model_id, parent_id, mask_fraction)
    if refused is None:
        if connection.execute(insert, (*values, CandidateState.PROPOSED, None, None)).fetchone():
            return candidate_id, True
        refused = Reason(ReasonCode.DUPLICATE, ReasonCode.DUPLICATE)
    connection.execute(insert, (*values, CandidateState.REJECTED, refused.code, refused.text))
    return candidate_id, False


def reject(connection: Connection, candidate_id: UUID, reason: ReasonCode) -> None:
    """Refuse a proposed candidate."""
    connection.execute(
        """UPDATE candidates SET state = 'rejected', reason_code = %s, reason = %s, updated_at = now()
           WHERE id = %s AND state = 'proposed'""",
        (reason, reason, candidate_id),
    )


def score(connection: Connection, relaxed_conformer_id: UUID, prediction: Prediction, model_id: UUID) -> None:
    """Store a candidate's relaxed geometry and first prediction."""
    connection.execute(
        """UPDATE candidates SET state = 'scored', relaxed_conformer_id = %s, updated_at = now()
           WHERE id = %s AND state = 'proposed'""",
        (relaxed_conformer_id, prediction.candidate_id),
    )
    _add_predictions(connection, [prediction], model_id)


def predict(connection: Connection, predictions: Sequence[Prediction], model_id: UUID) -> None:
    """Store predictions of one model version, of candidates in whichever campaigns; these are locked first, as everywhere."""
    connection.execute(
        """SELECT 1 FROM campaigns WHERE id IN (SELECT campaign_id FROM candidates WHERE id = ANY(%s))
           ORDER BY id FOR NO KEY UPDATE""",
        ([p.candidate_id for p in predictions],),
    )
    _add_predictions(connection, predictions, model_id)


def _add_predictions(connection: Connection, predictions: Sequence[Prediction], model_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO predictions (candidate_id, model_id, properties, correlations, out_of_distribution)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT (candidate_id, model_id) DO NOTHING""",
            [
                (
                    p.candidate_id,
                    model_id,
                    Jsonb({n: e._asdict() for n, e in p.properties.items()}),
                    Jsonb(dict(p.correlations)),
                    p.out_of_distribution,
                )
                for p in predictions
            ],
        )


def select(connection: Connection, candidate_id: UUID, triage_id: UUID) -> bool:
    """Choose a scored candidate for DFT; False if it is not scored."""
    row = connection.execute(
        """UPDATE candidates SET state = 'selected', triage_id = %s, updated_at = now()
           WHERE id = %s AND state = 'scored' RETURNING id""",
        (triage_id, candidate_id),
    ).fetchone()
    return row is not None


def displace(connection: Connection, candidate_id: UUID) -> None:
    """Give a selected candidate's place away; it is scored again, and not charged to the budget."""
    connection.execute(
        """UPDATE candidates SET state = 'scored', triage_id = NULL, updated_at = now()
           WHERE id = %s AND state = 'selected'""",
        (candidate_id,),
    )


def uncertify(connection: Connection, candidate_id: UUID) -> None:
    """Take back the request for a labelled candidate's certificate."""
    connection.execute(
        "UPDATE candidates SET certificate_id = NULL, updated_at = now() WHERE id = %s AND state = 'labelled'",
        (candidate_id,),
    )


def certify(connection: Connection, candidate_id: UUID, certificate_id: UUID) -> None:
    """Ask for the certificate of a labelled candidate."""
    connection.execute(
        "UPDATE candidates SET certificate_id = %s, updated_at = now() WHERE id = %s AND state = 'labelled'",
        (certificate_id, candidate_id),
    )


_TRIAGE = "FROM calculations k WHERE c.campaign_id = %s AND c.state = 'selected' AND k.id = c.triage_id"
_CERTIFICATE = "FROM calculations k WHERE c.campaign_id = %s AND c.state = 'labelled' AND k.id = c.certificate_id"
_SETTLEMENTS: Final = (  # what the end of a calculation means for the candidates that wait for it
    f"""UPDATE candidates c SET state = 'labelled', reason_code = NULL, reason = NULL, updated_at = now()
        {_TRIAGE} AND k.state = 'done'""",
    f"""UPDATE candidates c SET state = 'failed', reason_code = k.failure_class,
               reason = concat_ws(': ', k.failure_class, k.failure_reason), updated_at = now()
        {_TRIAGE} AND k.state = 'failed'""",
    # cancelled for another campaign's sake: this campaign may choose it again (what a user cancels is withdrawn by then)
    f"""UPDATE candidates c SET state = 'scored', triage_id = NULL, updated_at = now()
        {_TRIAGE} AND k.state = 'cancelled'""",
    f"""UPDATE candidates c SET state = 'certified', reason_code = NULL, reason = NULL, updated_at = now(),
               certified_conformer_id = k.result_conformer_id
        {_CERTIFICATE} AND k.state = 'done' AND k.rearranged IS NULL""",
    f"""UPDATE candidates c SET reason_code = '{ReasonCode.CERTIFICATE_REARRANGED}', updated_at = now(),
               reason = 'certificate: the molecule rearranged: ' || k.rearranged
        {_CERTIFICATE} AND k.state = 'done' AND k.rearranged IS NOT NULL AND c.reason IS NULL""",
    f"""UPDATE candidates c SET updated_at = now(), reason_code = '{ReasonCode.CERTIFICATE_FAILED}',
               reason = concat_ws(': ', 'certificate failed', k.failure_class, k.failure_reason)
        {_CERTIFICATE} AND k.state = 'failed' AND c.reason IS NULL""",
    f"""UPDATE candidates c SET certificate_id = NULL, updated_at = now()
        {_CERTIFICATE} AND k.state = 'cancelled' AND c.reason IS NULL""",
)


def settle(connection: Connection, campaign_id: UUID) -> None:
    """Give a campaign's selected and labelled candidates the results of calculations that have ended; may run twice."""
    settled: list[UUID] = []
    for statement in _SETTLEMENTS:
        rows = connection.execute(f"{statement} RETURNING c.id".encode(), (campaign_id,)).fetchall()
        settled += (row["id"] for row in rows)
    if settled:
        judge(connection, campaign_id, settled)


def judge(connection: Connection, campaign_id: UUID, candidate_ids: Sequence[UUID] | None = None) -> None:
    """Write down how a campaign's labelled candidates stand with regard to its target: some, or all of them."""
    row = connection.execute(
        "SELECT config -> 'target' AS target FROM campaigns WHERE id = %s", (campaign_id,)
    ).fetchone()
    assert row is not None  # it has candidates
    target, values = Target.model_validate(row["target"]), []
    for one in connection.execute(
        """SELECT c.id, t.properties AS label, CASE WHEN c.state = 'certified' THEN k.properties END AS certificate
           FROM candidates c JOIN calculations t ON t.id = c.triage_id LEFT JOIN calculations k ON k.id = c.certificate_id
           WHERE c.campaign_id = %(campaign)s AND c.state IN ('labelled', 'certified')
             AND (%(ids)s::uuid[] IS NULL OR c.id = ANY(%(ids)s))""",
        {"campaign": campaign_id, "ids": None if candidate_ids is None else list(candidate_ids)},
    ):
        label, certificate = one["label"], one["certificate"]
        values.append(
            (
                label.get(target.main.name),
                None if certificate is None else certificate.get(target.main.name),
                target.violation(label if certificate is None else certificate),
                Outcome.of(target.hit(label), None if certificate is None else target.hit(certificate)),
                one["id"],
            )
        )
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE candidates SET label_value = %s, certified_value = %s, violation = %s, outcome = %s WHERE id = %s",
            values,
        )


def withdraw(connection: Connection, campaign_id: UUID, certificate_ids: Sequence[UUID], reason: str) -> None:
    """Take back a campaign's selected candidates, and the certificates of labelled ones that have not ended."""
    connection.execute(
        """UPDATE candidates SET state = 'withdrawn', reason_code = %s, reason = %s, updated_at = now()
           WHERE campaign_id = %s AND state = 'selected'""",
        (ReasonCode.CAMPAIGN_ENDED, reason, campaign_id),
    )
    connection.execute(
        """UPDATE candidates SET reason_code = %s, reason = %s, updated_at = now()
           WHERE campaign_id = %s AND state = 'labelled' AND certificate_id = ANY(%s)""",
        (ReasonCode.CERTIFICATE_WITHDRAWN, f"certificate withdrawn: {reason}", campaign_id, list(certificate_ids)),
    )


def give_up(connection: Connection, calculation_ids: Sequence[UUID], reason: str) -> None:
    """Withdraw selected candidates whose calculations a person cancelled, and give up such certificates."""
    connection.execute(
        """UPDATE candidates c SET updated_at = now(),
                  state = CASE WHEN c.triage_id = k.id THEN 'withdrawn' ELSE c.state END,
                  reason_code = CASE WHEN c.triage_id = k.id THEN %(code)s ELSE %(certificate_code)s END,
                  reason = CASE WHEN c.triage_id = k.id THEN %(reason)s ELSE 'certificate ' || %(reason)s END
           FROM unnest(%(ids)s::uuid[]) AS k (id)
           WHERE c.triage_id = k.id AND c.state = 'selected' OR c.certificate_id = k.id AND c.state = 'labelled'""",
        {
            "ids": list(calculation_ids),
            "reason": reason,
            "code": ReasonCode.CANCELLED,
            "certificate_code": ReasonCode.CERTIFICATE_CANCELLED,
        },
    )


def wait_again(connection: Connection, calculation_ids: Sequence[UUID]) -> None:
    """Select failed candidates again whose calculations are tried again, and those that a person had given up.

    Only of campaigns that go on; labelled ones wait for their certificates again.
    """
    connection.execute(
        """UPDATE candidates c SET updated_at = now(), reason_code = NULL, reason = NULL,
                  state = CASE WHEN c.triage_id = k.id THEN 'selected' ELSE c.state END
           FROM unnest(%(ids)s::uuid[]) AS k (id), campaigns g
           WHERE g.id = c.campaign_id AND g.state IN ('running', 'paused')
             AND (c.triage_id = k.id AND (c.state = 'failed' OR c.state = 'withdrawn' AND c.reason_code = %(code)s)
                  OR c.certificate_id = k.id AND c.state = 'labelled')""",
        {"ids": list(calculation_ids), "code": ReasonCode.CANCELLED},
    )


def reopen(connection: Connection, campaign_id: UUID) -> None:
    """Let what the end of a campaign took back be chosen and certified again."""
    connection.execute(
        """UPDATE candidates SET state = 'scored', triage_id = NULL, reason_code = NULL, reason = NULL, updated_at = now()
           WHERE campaign_id = %s AND state = 'withdrawn' AND reason_code = %s""",
        (campaign_id, ReasonCode.CAMPAIGN_ENDED),
    )
    connection.execute(
        """UPDATE candidates SET certificate_id = NULL, reason_code = NULL, reason = NULL, updated_at = now()
           WHERE campaign_id = %s AND state = 'labelled' AND reason_code = %s""",
        (campaign_id, ReasonCode.CERTIFICATE_WITHDRAWN),
    )


def delete_all(connection: Connection, campaign_id: UUID) -> tuple[int, list[UUID], list[UUID]]:
    """Delete a campaign's candidates with their predictions: how many, their geometries and their calculations."""
    theirs = "IN (SELECT id FROM candidates WHERE campaign_id = %s)"
    connection.execute(f"DELETE FROM predictions WHERE candidate_id {theirs}", (campaign_id,))
    connection.execute(f"UPDATE candidates SET parent_id = NULL WHERE parent_id {theirs}", (campaign_id,))
    rows = connection.execute(
        """DELETE FROM candidates WHERE campaign_id = %s
           RETURNING conformer_id, relaxed_conformer_id, certified_conformer_id, triage_id, certificate_id""",
        (campaign_id,),
    ).fetchall()
    geometries = {row[name] for row in rows for name in row if name.endswith("conformer_id")}
    asked_for = {row[name] for row in rows for name in ("triage_id", "certificate_id")}
    return len(rows), list(geometries - {None}), list(asked_for - {None})


def define_copy_predictions(connection: Connection, values: Mapping[str, str]) -> None:
    """Define the SQL function that copies predictions beside candidates, for triggers and ``copy_predictions``.

    What counts is the prediction of the live model, else of the newest that judged the candidate.

    Args:
        connection: in a transaction.
        values: by column of ``candidates``, its value as SQL over ``p``, the prediction.
    """
    assignments = ", ".join(f"{column} = {value}" for column, value in values.items())
    definition = f"""CREATE OR REPLACE FUNCTION candidates_copy_predictions(judged uuid[]) RETURNS void LANGUAGE sql AS $$
    UPDATE candidates c SET out_of_distribution = p.out_of_distribution, {assignments}
    FROM (SELECT DISTINCT ON (p.candidate_id) p.candidate_id, p.properties, p.out_of_distribution
          FROM predictions p JOIN models m ON m.id = p.model_id WHERE p.candidate_id = ANY(judged)
          ORDER BY p.candidate_id, (m.state = 'live') DESC, m.version DESC) p
    WHERE c.id = p.candidate_id
$$"""
    connection.execute(definition.encode())


def copy_predictions(connection: Connection) -> None:
    """Copy the predictions of all candidates again, after their columns have changed."""
    connection.execute("SELECT candidates_copy_predictions(ARRAY(SELECT DISTINCT candidate_id FROM predictions))")


def copy_results(connection: Connection) -> None:
    """Copy the results of all calculations again, after their columns have changed: a trigger on ``triage_id`` does it."""
    connection.execute("UPDATE candidates SET triage_id = triage_id WHERE triage_id IS NOT NULL")


def _molecule(row: dict[str, Any]) -> Molecule:
    return decode(row["numbers"], row["coordinates_angstrom"], row["bonds"], row["charges"])
