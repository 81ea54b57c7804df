//! The macro behind `catalogue`: it turns each line of the table into a variant of `WorkType`, a
//! struct in `params`, a constructor, the JSON shape, the dispatch and the reference. The names
//! that it uses are those of `catalogue`, its one caller.

macro_rules! catalogue {
    ($(
        $(#[doc = $doc:literal])+
        $Name:ident = $snake:ident in $family:ident,
            kernel: $kernel:literal,
            choose: $choose:literal
        $({$(
            $(#[doc = $field_doc:literal])+ $(#[serde($($serde:tt)+)])?
            $field:ident: $ty:ty = $default:expr
        ),+ $(,)?})?;
    )+
    without defaults: $(
        $(#[doc = $own_doc:literal])+
        $Own:ident in $own_family:ident,
            kernel: $own_kernel:literal,
            choose: $own_choose:literal
        {$(
            $(#[doc = $own_field_doc:literal])+
            $own_field:ident: $own_ty:ty
        ),+ $(,)?};
    )+) => {
        /// What one worker does. Defaults are those of [`WorkType::from_name`].
        #[derive(Debug, Clone)]
        pub enum WorkType {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nIn the kernel: ", $kernel, ".\n\nFor ", $choose, ".")]
                $Name $({ $( $(#[doc = $field_doc])+ $field: $ty ),+ })?,
            )+
            $(
                $(#[doc = $own_doc])+
                #[doc = concat!("\n\nIn the kernel: ", $own_kernel, ".\n\nFor ", $own_choose, ".")]
                $Own { $( $(#[doc = $own_field_doc])+ $own_field: $own_ty ),+ },
            )+
        }

        impl WorkType {
            /// Every name that a scenario may use.
            pub const ALL_NAMES: &'static [&'static str] = &[
                $(stringify!($Name),)+ $(stringify!($Own),)+
            ];

            /// The name in scenarios and reports; for `Custom` the user's own.
            pub fn name(&self) -> &str {
                match self {
                    $( Self::$Name $({ $($field: _),+ })? => stringify!($Name), )+
                    Self::Sequence { .. } => "Sequence",
                    Self::Custom { name, .. } => name,
                }
            }

            /// The type with default parameters; `None` for `Sequence`, `Custom` and unknown names.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $( stringify!($Name) => Some(params::$Name::default().into()), )+
                    _ => None,
                }
            }

            $($(
                #[doc = concat!("[`WorkType::", stringify!($Name), "`] with these parameters.")]
                pub fn $snake($($field: $ty),+) -> Self {
                    Self::$Name { $($field),+ }
                }
            )?)+

            /// The one place that tells the variants apart: the loop and the facts of this type.
            pub(crate) fn work(&self) -> Box<dyn Work> {
                match self.clone() {
                    $( Self::$Name $({ $($field),+ })? =>
                        Box::new(params::$Name { $($($field),+)? }), )+
                    Self::Sequence { first, rest } => Box::new(Sequence { first, rest }),
                    Self::Custom { run, .. } => Box::new(Custom(run)),
                }
            }

            /// What the catalogue says of each type, as data. Only the reference asks.
            pub(super) fn lines() -> Vec<Line> {
                vec![
                    $( Line {
                        name: stringify!($Name),
                        family: Family::$family,
                        doc: &[$($doc),+],
                        kernel: $kernel,
                        choose: $choose,
                        parameters: vec![$($(
                            Parameter::new::<$ty>(stringify!($field), &[$($field_doc),+])
                        ),+)?],
                        facts: <params::$Name as Documented>::FACTS,
                    }, )+
                    $( Line {
                        name: stringify!($Own),
                        family: Family::$own_family,
                        doc: &[$($own_doc),+],
                        kernel: $own_kernel,
                        choose: $own_choose,
                        parameters: vec![$(
                            Parameter::new::<$own_ty>(stringify!($own_field), &[$($own_field_doc),+])
                        ),+],
                        facts: <$Own as Documented>::FACTS,
                    }, )+
                ]
            }
        }

        #[cfg(feature = "schema")]
        impl WorkType {
            /// The parameters of each type that has defaults, by its name.
            pub(super) fn schemas(
                generator: &mut schemars::SchemaGenerator,
            ) -> Vec<(&'static str, schemars::Schema)> {
                vec![ $( (stringify!($Name), generator.subschema_for::<params::$Name>()), )+ ]
            }
        }

        /// The parameters of each type; family files implement [`Work`] for them.
        pub(crate) mod params {
            use super::*;
            $(
                $(#[doc = $doc])+
                #[derive(Debug, Clone, Serialize, Deserialize)]
                #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
                #[serde(default, deny_unknown_fields)]
                pub(crate) struct $Name {
                    $($(
                        $(#[doc = $field_doc])+ $(#[serde($($serde)+)])?
                        pub(crate) $field: $ty,
                    )+)?
                }

                impl Default for $Name {
                    fn default() -> Self {
                        Self { $($($field: $default),+)? }
                    }
                }

                impl From<$Name> for WorkType {
                    fn from(_params: $Name) -> Self {
                        Self::$Name $({ $($field: _params.$field),+ })?
                    }
                }
            )+
        }

        impl Serialize for WorkType {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.clone() {
                    $( Self::$Name $({ $($field),+ })? => {
                        let params = params::$Name { $($($field),+)? };
                        if size_of_val(&params) == 0 {
                            return serializer.serialize_str(stringify!($Name));
                        }
                        serializer.serialize_newtype_variant("WorkType", 0, stringify!($Name), &params)
                    } )+
                    Self::Sequence { first, rest } => serializer.serialize_newtype_variant(
                        "WorkType", 0, "Sequence", &Sequence { first, rest }),
                    Self::Custom { name, .. } => serializer.serialize_newtype_variant(
                        "WorkType", 0, "Custom", &CustomName { name }),
                }
            }
        }

        impl<'de> Visitor<'de> for WorkTypeVisitor {
            type Value = WorkType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a work type, or one name with its parameters")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<WorkType, E> {
                WorkType::from_name(name).ok_or_else(|| E::custom(unknown(name)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WorkType, A::Error> {
                let name = map.next_key::<String>()?.ok_or_else(|| A::Error::custom("names no work type"))?;
                let value = match name.as_str() {
                    $( stringify!($Name) => map.next_value::<params::$Name>()?.into(), )+
                    "Sequence" => map.next_value::<Sequence>()?.into(),
                    "Custom" => Custom::named(map.next_value::<CustomName>()?.name),
                    _ => return Err(A::Error::custom(unknown(&name))),
                };
                match map.next_key::<String>()? {
                    None => Ok(value),
                    Some(second) => Err(A::Error::custom(format!("`{name}` and `{second}`: a worker does one thing"))),
                }
            }
        }
    };
}

pub(super) use catalogue;
