"""How kernels are compiled: by numba, without the GIL, once (kernel_cache.py keeps them on disk).

numba counts the references to an array, atomically, wherever a function takes or slices one, and
its optimizer finds the counts that are not needed only in the simplest functions. In an inner loop
they can take most of the time: 12 of 13 ns a byte in the search for bytes written in hexadecimal,
a quarter of the split into words (numba/numba, issue 2350). A function that neither makes nor
returns an array needs none: `uncounted`. One that does after all is not compiled; it must not call
a `kernel` either, for an array that it got from there would never be freed.
"""

from typing import Any

from numba import njit

_numba: Any = njit  # numba's types do not know _nrt

kernel = _numba(cache=True, nogil=True, _nrt=True)
uncounted = _numba(cache=True, nogil=True, _nrt=False)
inlined = _numba(cache=True, nogil=True, _nrt=False, inline="always")
"""`uncounted`, compiled into each caller: for what is called for every byte."""
