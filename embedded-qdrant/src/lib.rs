//! Embedded node.
