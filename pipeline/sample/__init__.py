import filters as filters  # numba's cache, before any kernel is declared
