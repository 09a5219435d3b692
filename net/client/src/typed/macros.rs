//! `record_type!`: declares a type, has rkyv derive its archived form, and takes its fingerprint from the same text.

/// Declares a struct with named fields, or an enum, as a record type.
///
/// It expands to the type as written, with `rkyv`'s `Archive`, `Serialize` and `Deserialize` derived, and to its
/// [`RecordType`](crate::RecordType): the name is the type's, the fingerprint is made of the names, order, places and
/// types of all fields and variants. So it changes when a field is added, removed, renamed, moved or given another type,
/// also inside the types of its fields, which have to be record types themselves.
///
/// ```
/// sluice_client::record_type! {
///     /// One line of an order.
///     #[derive(Debug)]
///     pub struct Line { pub article: String, pub count: u32 }
/// }
/// sluice_client::record_type! {
///     #[derive(Debug)]
///     pub struct Order { pub id: u64, pub lines: Vec<Line>, pub state: State }
/// }
/// sluice_client::record_type! {
///     #[derive(Debug)]
///     pub enum State { New, Paid { at_ms: u64 }, Refused(String) }
/// }
/// use sluice_client::RecordType;
/// assert_eq!(Order::NAME, "Order");
/// assert_ne!(Order::fingerprint(), Line::fingerprint());
/// ```
///
/// Its limits: no generic types, no types that contain themselves, and no attributes on fields but documentation, since
/// one that changes how a field is archived would not be seen. What a field *means* is not in the fingerprint: one that
/// held seconds and now holds milliseconds under the same name and type agrees. Renaming the type makes another type.
#[macro_export]
macro_rules! record_type {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $doc:literal])* $field_vis:vis $field:ident : $type:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive($crate::rkyv::Archive, $crate::rkyv::Serialize, $crate::rkyv::Deserialize)]
        #[rkyv(crate = $crate::rkyv)]
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $type,)*
        }

        impl $crate::RecordType for $name {
            const NAME: &'static str = ::core::stringify!($name);

            fn fingerprint() -> u64 {
                let fingerprint = $crate::Fingerprint::of::<Self>("struct").text(Self::NAME);
                $(let fingerprint = fingerprint.field(
                    ::core::stringify!($field),
                    ::core::mem::offset_of!(<$name as $crate::rkyv::Archive>::Archived, $field),
                    <$type as $crate::RecordType>::fingerprint(),
                );)*
                fingerprint.finish()
            }
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $variant:ident
                $({ $($(#[doc = $field_doc:literal])* $field:ident : $type:ty),* $(,)? })?
                $(( $($part:ty),* $(,)? ))?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive($crate::rkyv::Archive, $crate::rkyv::Serialize, $crate::rkyv::Deserialize)]
        #[rkyv(crate = $crate::rkyv)]
        $vis enum $name {
            $(
                $(#[doc = $doc])*
                $variant
                $({ $($(#[doc = $field_doc])* $field: $type,)* })?
                $(( $($part,)* ))?
            ,)*
        }

        impl $crate::RecordType for $name {
            const NAME: &'static str = ::core::stringify!($name);

            fn fingerprint() -> u64 {
                let fingerprint = $crate::Fingerprint::of::<Self>("enum").text(Self::NAME);
                $(
                    let fingerprint = fingerprint.text("variant").text(::core::stringify!($variant));
                    $($(
                        let fingerprint = fingerprint.field(
                            ::core::stringify!($field), 0, <$type as $crate::RecordType>::fingerprint(),
                        );
                    )*)?
                    $($(
                        let fingerprint = fingerprint.field("", 0, <$part as $crate::RecordType>::fingerprint());
                    )*)?
                )*
                fingerprint.finish()
            }
        }
    };
}
