"""Frozen records that cross folders: device, fleet, model, request, event, plan."""
