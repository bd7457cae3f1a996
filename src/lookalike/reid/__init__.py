"""Person re-identification: network, training, embedding and ranking."""
