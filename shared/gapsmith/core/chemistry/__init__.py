"""Molecules: elements and radii, geometries and bonds, identity, the reader of molecule files and the gate."""
