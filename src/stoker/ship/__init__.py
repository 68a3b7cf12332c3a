"""Ship: from data to an endpoint. Decides; touches nothing."""
