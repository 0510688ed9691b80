//! Nodes in, knowledge out: tables after Dubbo's and Curator's own forms, and properties over all of them.

mod folders;
mod follow;
mod governance;
mod lies;
mod server;
