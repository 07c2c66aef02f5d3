mod random;
mod rebalances;
mod statics;
mod support;
mod table;
