"""`python -m bridge` is `push-bridge`."""

from bridge.cli import main

if __name__ == "__main__":
    main()
