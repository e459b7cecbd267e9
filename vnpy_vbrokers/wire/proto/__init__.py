"""Generated protobuf classes of the push port; push.proto beside this file is the source."""
