"""What tests of several areas build on. Nothing here pretends: real records, real pictures, real seeds in a real store."""
