"""How good generated molecules are: ``gapsmith evaluate generator``, and all of it for programs.

``quality.evaluate`` measures molecules, ``files.read`` brings them from files, ``real`` those of QM9, ``conditional``
asks a generator for gaps and scores what comes, ``measuring`` does everything at once.
"""
