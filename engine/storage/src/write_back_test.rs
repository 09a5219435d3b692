use super::*;

#[test]
fn a_window_holds_what_lies_in_it_and_zeros() {
    let placed = |position, bytes: &[u8]| PlacedBytes { position, bytes: Bytes::copy_from_slice(bytes) };
    let content = [placed(2, &[1, 1, 1]), placed(6, &[2, 2]), placed(8, &[3; 6])];
    for (position, expected) in
        [(0, [0, 0, 1, 1, 1, 0, 2, 2]), (4, [1, 0, 2, 2, 3, 3, 3, 3]), (10, [3, 3, 3, 3, 0, 0, 0, 0]), (20, [0; 8])]
    {
        let mut window = [0xa5; 8];
        place(&mut window, position, &content);
        assert_eq!(window, expected, "the window at {position}");
    }
}
