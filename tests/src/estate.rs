//! The real registries and applications of `tests/estate`, one estate a test, ended with the test.
