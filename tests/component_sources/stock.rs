// A component in Rust, by the canonical ABI: items are counted up to a limit, and the name of the heaviest is returned.
#![crate_type = "cdylib"]
use std::alloc::{alloc, realloc, Layout};

#[repr(C)]
pub struct Item { name: *mut u8, length: usize, count: u16, weight: f64, marks: u8 }
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Total { weight: f64, name: *mut u8, length: usize }
#[repr(C)]
pub union Payload { reason: u8, total: Total }
#[repr(C)]
pub struct Found { case: u8, payload: Payload }
#[repr(C)]
pub struct List { marks: *mut u8, length: usize }

#[export_name = "cabi_realloc"]
pub unsafe extern "C" fn cabi_realloc(old: *mut u8, size: usize, alignment: usize, wanted: usize) -> *mut u8 {
    if wanted == 0 { return alignment as *mut u8; }
    if size == 0 { return alloc(Layout::from_size_align_unchecked(wanted, alignment)); }
    realloc(old, Layout::from_size_align_unchecked(size, alignment), wanted)
}

#[export_name = "total"]
pub unsafe extern "C" fn total(items: *mut Item, length: usize, limited: u32, limit: u32) -> *mut Found {
    let items = Vec::from_raw_parts(items, length, length);
    let count: u32 = items.iter().map(|each| each.count as u32).sum();
    let weight = items.iter().filter(|each| each.marks & 4 == 0).fold(0.0, |sum, each| sum + each.weight * each.count as f64);
    let mut heaviest = items.first();
    for each in &items {
        if heaviest.is_some_and(|other| each.weight > other.weight) { heaviest = Some(each); }
    }
    let found = match heaviest {
        None => Found { case: 1, payload: Payload { reason: 0 } },
        Some(_) if limited != 0 && count > limit => Found { case: 1, payload: Payload { reason: 1 } },
        Some(each) => Found { case: 0, payload: Payload { total: Total { weight, name: each.name, length: each.length } } },
    };
    Box::into_raw(Box::new(found))
}

#[export_name = "marked"]
pub unsafe extern "C" fn marked(items: *mut Item, length: usize) -> *mut List {
    let items = Vec::from_raw_parts(items, length, length);
    let marks: Vec<u8> = items.iter().map(|each| each.marks).filter(|each| *each != 0).collect();
    let mut marks = std::mem::ManuallyDrop::new(marks.into_boxed_slice());
    Box::into_raw(Box::new(List { marks: marks.as_mut_ptr(), length: marks.len() }))
}

#[export_name = "cabi_post_marked"]
pub unsafe extern "C" fn marked_done(found: *mut List) {
    let found = Box::from_raw(found);
    drop(Vec::from_raw_parts(found.marks, found.length, found.length));
}
