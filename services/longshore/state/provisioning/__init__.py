"""What provisioning writes: capacity orders from recorded to closed, instances, offers."""
