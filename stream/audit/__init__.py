"""The audit: computes published lists again from the topics and the model store, and says where they differ."""
