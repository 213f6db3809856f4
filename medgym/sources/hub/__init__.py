"""Fetches published data sets: from the Hugging Face Hub, and by address from elsewhere."""
