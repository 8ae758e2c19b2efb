-- The machine whose provisioning ordered the instance, where instances are processes of it: no other can start or end
-- them. Empty: the provider reaches its instances from anywhere, or the record is from before this was kept.
ALTER TABLE instances ADD COLUMN machine text NOT NULL DEFAULT '';
