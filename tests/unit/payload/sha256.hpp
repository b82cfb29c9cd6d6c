// Digests and data that tests compare by.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <random>
#include <string>
#include <string_view>

namespace gw::payloads::testing {

inline std::string sha256(std::string_view bytes)
{
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
    std::string hex;
    for (unsigned at = 0; at < length; ++at) {
        constexpr std::string_view digits = "0123456789abcdef";
        hex += digits[digest[at] >> 4U];
        hex += digits[digest[at] & 15U];
    }
    return hex;
}

// OpenSSL's opinion.
inline std::string openssl_base64(std::string_view bytes)
{
    std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0'); // it writes a zero behind
    const int length = EVP_EncodeBlock(
        reinterpret_cast<unsigned char*>(out.data()),
        reinterpret_cast<const unsigned char*>(bytes.data()),
        static_cast<int>(bytes.size())
    );
    out.resize(static_cast<std::size_t>(length));
    return out;
}

inline std::string random_bytes(std::size_t count, unsigned seed)
{
    std::mt19937_64 source(seed);
    std::string made(count, '\0');
    for (std::size_t at = 0; at < count; at += 8) {
        const auto word = source();
        for (std::size_t byte = 0; byte < 8 && at + byte < count; ++byte) {
            made[at + byte] = static_cast<char>(word >> (8 * byte) & 0xffU);
        }
    }
    return made;
}

} // namespace gw::payloads::testing
