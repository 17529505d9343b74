"""What all webhooks share; pure, marshmallow allowed."""
