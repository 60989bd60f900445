"""What every route shares: fields, payloads, errors, JSON, headers, addresses and UUIDs."""
