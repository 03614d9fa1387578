"""Molecules found by substructure and similarity: keys beside each, computed when it is stored or first asked for."""

import math
from collections.abc import Sequence
from typing import Any

from psycopg.rows import tuple_row

from gapsmith.store.database import Connect, Connection

BATCH = 1000  # molecules whose keys are computed at once
FINGERPRINT_BITS = 2048
FEW = 20_000  # similar molecules that are looked up by themselves


def fill(connect: Connect) -> int:
    """Compute the keys of molecules that have none yet; returns of how many.

    ``add_molecule`` stores keys itself: what is left was stored by an earlier version, or by hand.
    """
    done = 0
    while True:
        with connect() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                """SELECT m.id, m.smiles, m.fingerprint FROM substructure_keys k JOIN molecules m ON m.id = k.molecule_id
                   WHERE k.keys IS NULL ORDER BY k.molecule_id LIMIT %s""",
                (BATCH,),
            )
            rows = cursor.fetchall()
        if not rows:
            return done
        computed = [_keys(*row) for row in rows]
        with connect() as connection:
            _write(connection, computed)
        done += len(rows)


def store(connection: Connection, molecules: Sequence[tuple[int, str, bytes]]) -> None:
    """Compute and store keys: id, SMILES and Morgan fingerprint of molecules."""
    _write(connection, [_keys(*molecule) for molecule in molecules])


def _keys(molecule_id: int, smiles: str, fingerprint: bytes) -> tuple[int, str, str, list[int]]:
    """Id, substructure keys, Morgan fingerprint and its ones."""
    from rdkit import Chem

    from gapsmith.core.chemistry.substructure import KEY_BITS, molecule_keys

    mol = Chem.MolFromSmiles(smiles)  # what RDKit wrote and cannot read again stands in nobody's way
    return molecule_id, "1" * KEY_BITS if mol is None else molecule_keys(mol), *morgan_keys(bytes(fingerprint))


def _write(connection: Connection, computed: Sequence[tuple[int, str, str, list[int]]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE substructure_keys SET keys = %s::bit(640) WHERE molecule_id = %s",
            [(one[1], one[0]) for one in computed],
        )
        cursor.executemany(
            """INSERT INTO similarity_keys (molecule_id, morgan, bits) VALUES (%s, %s::bit(2048), %s::smallint[])
               ON CONFLICT (molecule_id) DO NOTHING""",
            [(one[0], one[2], one[3]) for one in computed],
        )


def morgan_keys(fingerprint: bytes) -> tuple[str, list[int]]:
    """A Morgan fingerprint of 256 bytes as text of 2048 zeros and ones, and the places of its ones."""
    import numpy as np

    ones = np.unpackbits(np.frombuffer(fingerprint, dtype=np.uint8))
    return f"{int.from_bytes(fingerprint, 'big'):02048b}", [int(place) for place in np.flatnonzero(ones)]


class Similar:
    """Molecules whose Tanimoto similarity to one is at least so much, by Morgan fingerprints (radius 2, 2048 bits).

    Exact: two sets with that similarity differ little in size, and one holds at least ``ceil(least * size)`` elements of the
    other, so at least one of any ``size - ceil(least * size) + 1`` of them; the rarest are chosen, and an index finds who
    has one.

    Args:
        connect: a transaction of the database whose molecules are meant.
        smiles: of the molecule.
        field: named in errors.

    Raises:
        InputError: the SMILES is none.
    """

    def __init__(self, connect: Connect, smiles: str, field: str = "similar_to") -> None:
        from gapsmith.core.chemistry.identity import fingerprint_of

        self._connect = connect
        self.text, bits = morgan_keys(fingerprint_of(smiles, field))
        with connect() as connection:
            self.bits = _rarest_first(connection, bits)

    def parameters(self, least: float) -> dict[str, Any]:
        """For SQL in which ``MOLECULES`` stands."""
        size = len(self.bits)
        shared = math.ceil(least * size - 1e-9)
        rarest = self.bits[: size - shared + 1] if shared > 0 else None
        largest = math.floor(size / least + 1e-9) if shared > 0 else FINGERPRINT_BITS
        return {
            "morgan": self.text,
            "size": size,
            "rarest": rarest,
            "least": least,
            "fewest_ones": shared,
            "most_ones": min(largest, FINGERPRINT_BITS),
        }

    def molecules(self, least: float) -> list[tuple[int, float]] | None:
        """Molecules and their similarities; None if they are more than a few."""
        values = self.parameters(least)
        if values["rarest"] is None:
            return None
        with self._connect() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            found = cursor.execute(f"{SIMILAR} LIMIT {FEW + 1}", values).fetchall()
        return found if len(found) <= FEW else None


# Molecule and similarity; the index serves unless every molecule is similar enough.
MOLECULES = """
    SELECT molecule_id, similarity FROM (
        SELECT molecule_id, common::float8 / (%(size)s + ones - common) AS similarity
        FROM (SELECT molecule_id, bit_count(morgan & %(morgan)s::bit(2048)) AS common, cardinality(bits) AS ones
              FROM similarity_keys WHERE {choice} AND cardinality(bits) BETWEEN %(fewest_ones)s AND %(most_ones)s
              OFFSET 0) AS counted) AS compared
    WHERE similarity >= %(least)s"""
SIMILAR = MOLECULES.format(choice="bits && %(rarest)s::smallint[]")
ALL_SIMILAR = MOLECULES.format(choice="true")


def _rarest_first(connection: Connection, bits: Sequence[int]) -> list[int]:
    """Bits by how many molecules have them, as far as the planner's statistics know."""
    row = connection.execute(
        """SELECT most_common_elems::text::int[] AS bits, most_common_elem_freqs AS shares
           FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'similarity_keys' AND attname = 'bits'"""
    ).fetchone()
    share = dict(zip(row["bits"], row["shares"], strict=False)) if row and row["bits"] else {}
    return sorted(bits, key=lambda bit: (share.get(bit, 0.0), bit))
