#include "config/digest.hpp"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>

namespace gw::config {
namespace {

struct free_context
{
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// -1: not a hex digit.
int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

} // namespace

std::string sha256(std::string_view bytes)
{
    // Fetching the algorithm and making a context cost more than hashing a key: once a process, once a
    // thread.
    static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    thread_local const std::unique_ptr<EVP_MD_CTX, free_context> context(EVP_MD_CTX_new());

    std::string digest(32, '\0');
    const bool done =
        algorithm != nullptr && context != nullptr &&
        EVP_DigestInit_ex2(context.get(), algorithm, nullptr) == 1 &&
        EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) == 1 &&
        EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr) == 1;
    if (!done) {
        std::abort(); // a libcrypto without SHA-256: no key could be told from another
    }
    return digest;
}

std::string to_hex(std::string_view bytes)
{
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        out += digits[byte >> 4U];
        out += digits[byte & 15U];
    }
    return out;
}

std::optional<std::string> parse_digest(std::string_view text)
{
    constexpr std::string_view prefix = "sha256:";
    if (!text.starts_with(prefix) || text.size() != prefix.size() + 64) {
        return std::nullopt;
    }
    text.remove_prefix(prefix.size());

    std::string raw;
    raw.reserve(32);
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_value(text[i]);
        const int low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) {
            return std::nullopt;
        }
        raw += static_cast<char>(high * 16 + low);
    }
    return raw;
}

std::uint64_t hash_of(std::initializer_list<std::string_view> parts)
{
    std::string all;
    for (const auto& part : parts) {
        all += std::to_string(part.size());
        all += ':';
        all += part;
    }
    const std::string digest = sha256(all);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        value = value << 8U | static_cast<unsigned char>(digest[i]);
    }
    return value;
}

} // namespace gw::config
