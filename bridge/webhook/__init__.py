"""What all webhooks share. Pure code; it may use marshmallow."""
