"""Other people's libraries, unmodified, on our environments: `make test-clients`."""
