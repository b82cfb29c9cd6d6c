#include "auth/authenticate.hpp"

#include "config/digest.hpp"
#include "config/values.hpp"

#include <openssl/crypto.h>

#include <algorithm>

namespace gw::auth {
namespace {

constexpr std::size_t longest_key = 4096;

bool same_letters(std::string_view one, std::string_view other)
{
    return std::ranges::equal(one, other, [](char a, char b) {
        const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
        return lower(a) == lower(b);
    });
}

std::string_view trimmed(std::string_view text)
{
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

// The key that was presented; empty: none. Source: RFC 6750 section 2.1; the scheme's case does not matter.
std::string_view presented(std::string_view authorization, std::string_view x_api_key)
{
    constexpr std::string_view scheme = "Bearer ";
    authorization = trimmed(authorization);
    if (authorization.size() > scheme.size() &&
        same_letters(authorization.substr(0, scheme.size()), scheme)) {
        return trimmed(authorization.substr(scheme.size()));
    }
    return trimmed(x_api_key);
}

bool equal_digests(std::string_view one, std::string_view other)
{
    return one.size() == 32 && other.size() == 32 && CRYPTO_memcmp(one.data(), other.data(), 32) == 0;
}

// The host of a Host field, without its port and brackets.
std::string_view host_of(std::string_view field)
{
    if (field.starts_with('[')) {
        const std::size_t end = field.find(']');
        return end == std::string_view::npos ? std::string_view() : field.substr(1, end - 1);
    }
    return field.substr(0, field.rfind(':'));
}

} // namespace

result<const config::client*>
authenticate(std::string_view authorization, std::string_view x_api_key, const key_table& known)
{
    if (known.open()) {
        return nullptr;
    }
    const std::string_view key = presented(authorization, x_api_key);
    if (key.empty()) {
        return refuse(
            code::unauthenticated, "no client key: send `Authorization: Bearer KEY`, or `X-Api-Key: KEY`"
        );
    }
    const config::client* const found = known.find(config::sha256(key.substr(0, longest_key)));
    if (found == nullptr || key.size() > longest_key) {
        return refuse(
            code::unauthenticated,
            "this client key is not known here: send a key of this gateway (not a Hugging Face token) as "
            "`Authorization: Bearer KEY`, or `X-Api-Key: KEY`"
        );
    }
    return found;
}

last_caller::~last_caller()
{
    ::OPENSSL_cleanse(presented_.data(), presented_.size());
}

result<const config::client*>
last_caller::authenticate(std::string_view authorization, std::string_view x_api_key, const key_table& known)
{
    const auto same = [](std::string_view one, std::string_view other) {
        return one.size() == other.size() && ::CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
    };
    const std::string_view had = presented_;
    if (who_ != nullptr && among_ == known.serial() && same(had.substr(0, first_), authorization) &&
        same(had.substr(first_), x_api_key)) {
        return who_;
    }
    auto found = auth::authenticate(authorization, x_api_key, known);
    ::OPENSSL_cleanse(presented_.data(), presented_.size());
    presented_.clear();
    who_ = found ? *found : nullptr;
    if (who_ != nullptr) {
        presented_.reserve(authorization.size() + x_api_key.size()); // no copy is left behind by growing
        presented_.append(authorization).append(x_api_key);
        first_ = authorization.size();
        among_ = known.serial();
    }
    return found;
}

bool repeats_key(std::string_view text, std::string_view authorization, std::string_view x_api_key)
{
    const std::string_view key = presented(authorization, x_api_key);
    return !key.empty() && text.find(key) != std::string_view::npos;
}

result<void> check_local(std::string_view host, std::string_view origin, const config::settings& now)
{
    if (!now.open) {
        return {};
    }
    if (!origin.empty()) {
        return refuse(
            code::forbidden,
            "a web page (a request with `Origin`) may not use a gateway without client keys: add `clients:` "
            "to its policy"
        );
    }
    const std::string_view name = host_of(host);
    const bool configured = std::ranges::any_of(now.listen, [&](const config::listener& each) {
        return !each.at.host.empty() && same_letters(each.at.host, name);
    });
    if (!configured && !config::is_loopback(name)) {
        return refuse(
            code::forbidden,
            "a gateway without client keys answers to `Host: localhost` and 127.0.0.1 only: use that "
            "address, or add "
            "`clients:` to its policy"
        );
    }
    return {};
}

bool admin_allowed(std::string_view authorization, std::string_view x_api_key, const config::settings& now)
{
    if (now.admin_key_digest.empty()) {
        return true;
    }
    const std::string_view key = presented(authorization, x_api_key);
    return key.size() <= longest_key && equal_digests(config::sha256(key), now.admin_key_digest);
}

} // namespace gw::auth
