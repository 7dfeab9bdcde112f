//! The Management API as an audience: its identifier and scopes.

/// What an administrating application can be granted.
pub(crate) const MANAGEMENT_SCOPES: [&str; 14] = [
    "read:users",
    "create:users",
    "update:users",
    "delete:users",
    "update:users_app_metadata",
    "read:connections",
    "create:user_tickets",
    "read:sessions",
    "delete:sessions",
    "read:refresh_tokens",
    "delete:refresh_tokens",
    "read:signing_keys",
    "create:signing_keys",
    "update:signing_keys",
];
