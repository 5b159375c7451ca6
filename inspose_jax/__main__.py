"""`python -m inspose_jax` runs the console script `inspose`."""

from inspose_jax.cli import main

if __name__ == "__main__":
    main()
