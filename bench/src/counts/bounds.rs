//! The most that a request may cost. Whoever lowers a count lowers its bound; each is a little above what was counted, for what
//! happens once a second and for how arrivals fall together.

/// A count and the most that it may be.
pub(super) struct Bound {
    pub(super) what: &'static str,
    pub(super) most: f64,
}

pub(super) const SYSTEM_CALLS_1: &str = "system calls, 1 connection";
pub(super) const SYSTEM_CALLS_32: &str = "system calls, 32 connections";
pub(super) const ALLOCATIONS: &str = "allocations, 1 connection";
pub(super) const COPIES: &str = "copies, 1 connection, 32 KiB";
pub(super) const COPIED: &str = "bytes copied, 1 connection, 32 KiB";
pub(super) const INSTRUCTIONS: &str = "instructions, 1 connection";
pub(super) const INSTRUCTIONS_FIELD: &str = "instructions for each header field that is passed on";
pub(super) const ROUTE: &str = "instructions to find the route";
pub(super) const ROUTE_ALLOCATIONS: &str = "allocations to find the route";
pub(super) const SLOT: &str = "instructions for a slot, taken and given back";
pub(super) const LIMITED_SLOT: &str = "the same with a limit";

pub(super) const BOUNDS: &[Bound] = &[
    Bound { what: SYSTEM_CALLS_1, most: 6.1 },
    // The bar of the design is 4.3.
    Bound { what: SYSTEM_CALLS_32, most: 4.3 },
    Bound { what: ALLOCATIONS, most: 12.1 },
    // Values that are moved, of a few hundred bytes each. The body is not among it, or it would be 32 KiB more: it is written from
    // where it was read.
    Bound { what: COPIES, most: 103.0 },
    Bound { what: COPIED, most: 23_700.0 },
    Bound { what: INSTRUCTIONS, most: 41_300.0 },
    Bound { what: INSTRUCTIONS_FIELD, most: 2_200.0 },
    // Over the tables of sixteen activators: 1,468 to 1,472 in five runs. Over one table, other seeds gave 1,452 to 1,466.
    Bound { what: ROUTE, most: 1_475.0 },
    Bound { what: ROUTE_ALLOCATIONS, most: 0.0 },
    // With a limit 3,110 before requests were for a tag or a share of the traffic: what a request is for goes along with its slot.
    Bound { what: SLOT, most: 2_470.0 },
    Bound { what: LIMITED_SLOT, most: 3_130.0 },
];
