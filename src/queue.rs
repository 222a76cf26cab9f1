//! Queues that are emptied after each input.

use std::collections::VecDeque;

/// The first of a queue. One that is empty then begins at the same place in memory again, which the processor's cache still
/// has, instead of wandering through all the room that it ever took.
pub(crate) fn take_first<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() {
        queue.clear();
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_that_is_emptied_begins_in_the_same_place() {
        let mut queue = VecDeque::with_capacity(4);
        let mut place = None;
        for n in 0..10 {
            queue.push_back(n);
            let first = std::ptr::from_ref(&queue[0]);
            assert_eq!(*place.get_or_insert(first), first);
            assert_eq!(
                (take_first(&mut queue), take_first(&mut queue)),
                (Some(n), None)
            );
        }
    }
}
