#include "auth/keys.hpp"

#include "config/digest.hpp"

#include <openssl/rand.h>

#include <array>

namespace gw::auth {

std::optional<new_key> keygen()
{
    constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    constexpr std::size_t length = 40;
    // Bytes past the last whole multiple of 62 would make the first letters likelier: they are thrown away.
    constexpr unsigned fair = 256 / letters.size() * letters.size();

    new_key made{.key = "hf_", .line = {}};
    while (made.key.size() < 3 + length) {
        std::array<unsigned char, 64> random{};
        if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
            return std::nullopt;
        }
        for (const unsigned byte : random) {
            if (byte < fair && made.key.size() < 3 + length) {
                made.key += letters[byte % letters.size()];
            }
        }
    }
    made.line = digest_of(made.key);
    return made;
}

std::string sha256(std::string_view bytes)
{
    return config::sha256(bytes);
}

std::string digest_of(std::string_view key)
{
    return "sha256:" + config::to_hex(config::sha256(key));
}

} // namespace gw::auth
