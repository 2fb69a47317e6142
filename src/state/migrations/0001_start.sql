-- The first schema: images with their layers and references, and workloads.
--
-- Digests are 64 lower-case hex digits without "sha256:", so that a prefix is a range of the
-- primary key.  '' is no digest in a layer (its blob is not kept); NULL is none in a workload (it
-- has no image), so that the foreign key skips it.

PRAGMA application_id = 0x6d6f6174; -- "moat"

CREATE TABLE image (
	id TEXT PRIMARY KEY,
	manifest TEXT NOT NULL,
	created_ns INTEGER NOT NULL,
	loaded_ns INTEGER NOT NULL,
	size_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE layer (
	diff_id TEXT PRIMARY KEY,
	blob TEXT NOT NULL,
	blob_bytes INTEGER NOT NULL,
	tar_bytes INTEGER NOT NULL,
	erofs_bytes INTEGER NOT NULL,
	compression INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An image may have the same layer twice (an empty one), so the position is the key.
CREATE TABLE image_layer (
	image TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
	position INTEGER NOT NULL,
	layer TEXT NOT NULL REFERENCES layer (diff_id),
	PRIMARY KEY (image, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_layer_of_layer ON image_layer (layer);

CREATE TABLE reference (
	name TEXT PRIMARY KEY,
	image TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_of_image ON reference (image);

-- Rows are wide, so this one keeps its rowid.  image_id has no index: every run would pay for it
-- with a written page, and only the removal of an image looks rows up by it.  spec stands last: a
-- scan for image_id never follows its overflow pages.
CREATE TABLE workload (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	image TEXT NOT NULL,
	image_id TEXT REFERENCES image (id),
	created_ns INTEGER NOT NULL,
	auto_remove INTEGER NOT NULL,
	spec TEXT NOT NULL
) STRICT;
