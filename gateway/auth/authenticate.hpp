// Who is calling. Pure: bytes and settings in, a client or a refusal out. Safe from any thread.
#pragma once

#include "auth/key_table.hpp"
#include "config/settings.hpp"
#include "message/failure.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gw::auth {

// Finds the client whose key was presented as `Authorization: Bearer KEY` or, without a bearer key, as
// `X-Api-Key: KEY`.
//   authorization, x_api_key   the fields' values; empty: the field is absent
//   returns   the client; null when the settings name no clients (open): whatever was presented is ignored
//   then errors    unauthenticated: no key, or one that is nobody's. The text is the same for every wrong key
//   and holds
//             none of it, and so is the time (key_table.hpp)
[[nodiscard]] result<const config::client*>
authenticate(std::string_view authorization, std::string_view x_api_key, const key_table& known);

// The same for the requests of one connection: the digest of a key that was found is not made again while the
// same bytes are presented and the same keys are known. Wiped when it goes.
class last_caller
{
public:
    last_caller() = default;
    ~last_caller();
    last_caller(const last_caller&) = delete;
    last_caller& operator=(const last_caller&) = delete;

    [[nodiscard]] result<const config::client*>
    authenticate(std::string_view authorization, std::string_view x_api_key, const key_table& known);

private:
    std::string presented_; // both fields
    std::size_t first_ = 0; // of it is the first one's
    std::uint64_t among_ = 0;
    const config::client* who_ = nullptr; // null: nobody was found yet
};

// Whether the presented key stands in `text` too (a query): there it would be logged and passed on.
[[nodiscard]] bool
repeats_key(std::string_view text, std::string_view authorization, std::string_view x_api_key);

// The rule of a keyless listener: a web page must not spend tokens. Without `clients:`, a request is refused
// when its Host is none of localhost, 127.0.0.0/8, [::1] or a configured address, or when it carries an
// Origin.
//   host, origin   the fields' values; empty: absent
//   errors         forbidden
[[nodiscard]] result<void>
check_local(std::string_view host, std::string_view origin, const config::settings& now);

// True when the admin listener's key was presented, or none is asked.
[[nodiscard]] bool
admin_allowed(std::string_view authorization, std::string_view x_api_key, const config::settings& now);

} // namespace gw::auth
