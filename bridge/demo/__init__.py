"""The demo plays a month of eight customers through the whole bridge on this machine."""
