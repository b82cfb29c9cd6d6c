// Client keys: made once, printed once, kept as SHA-256.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace gw::auth {

struct new_key
{
    std::string key;  // `hf_` and 40 alphanumerics (238 bits): SDKs in router mode refuse keys that do not
                      // start with `hf_`
    std::string line; // `sha256:` and 64 hex digits: what goes into the policy
};

// A fresh key from the system's random source; nullopt when that fails.
[[nodiscard]] std::optional<new_key> keygen();

// The 32 raw bytes of SHA-256.
[[nodiscard]] std::string sha256(std::string_view bytes);

// `sha256:` and 64 hex digits of a key: what a policy holds of it.
[[nodiscard]] std::string digest_of(std::string_view key);

} // namespace gw::auth
