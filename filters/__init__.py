from filters import kernel_cache as kernel_cache  # before any kernel is declared
