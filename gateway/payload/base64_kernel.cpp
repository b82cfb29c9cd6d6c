#include "payload/base64_kernel.hpp"

#include "payload/base64_vector.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <vector>

namespace gw::payloads {
namespace {

// Two characters for each value of twelve bits.
constexpr auto pairs = [] {
    std::array<std::array<char, 2>, 4096> made{};
    for (std::size_t value = 0; value < made.size(); ++value) {
        made[value] = {base64_alphabet[value >> 6U], base64_alphabet[value & 63U]};
    }
    return made;
}();

// The six bits already in place for each of the four positions of a group; every bad character has the top
// bit.
constexpr std::uint32_t bad = 0x8000'0000U;
constexpr auto shifted = [] {
    std::array<std::array<std::uint32_t, 256>, 4> made{};
    for (std::size_t place = 0; place < 4; ++place) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            made[place][byte] = base64_values[byte] == 0xff
                                    ? bad
                                    : static_cast<std::uint32_t>(base64_values[byte]) << (6U * (3U - place));
        }
    }
    return made;
}();

std::uint64_t load_big_endian(const std::uint8_t* from)
{
    std::uint64_t value = 0;
    std::memcpy(&value, from, sizeof value);
    return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}

void put_pair(char* out, std::uint64_t value)
{
    std::memcpy(out, pairs[value & 4095U].data(), 2);
}

void encode_portable(const std::uint8_t* in, std::size_t triples, char* out)
{
    // Six bytes at a time out of a load of eight, so the last two triples are left to the loop below.
    while (triples >= 4) {
        const std::uint64_t bits = load_big_endian(in);
        put_pair(out, bits >> 52U);
        put_pair(out + 2, bits >> 40U);
        put_pair(out + 4, bits >> 28U);
        put_pair(out + 6, bits >> 16U);
        in += 6;
        out += 8;
        triples -= 2;
    }
    for (; triples > 0; --triples) {
        const std::uint32_t bits = static_cast<std::uint32_t>(in[0]) << 16U |
                                   static_cast<std::uint32_t>(in[1]) << 8U |
                                   static_cast<std::uint32_t>(in[2]);
        put_pair(out, bits >> 12U);
        put_pair(out + 2, bits);
        in += 3;
        out += 4;
    }
}

std::uint32_t group(const std::uint8_t* from)
{
    return shifted[0][from[0]] | shifted[1][from[1]] | shifted[2][from[2]] | shifted[3][from[3]];
}

std::size_t decode_portable(const char* in, std::size_t quads, std::uint8_t* out)
{
    const auto* from = reinterpret_cast<const std::uint8_t*>(in);
    std::size_t done = 0;

    // Two groups at a time; a store of eight bytes for six, so the last groups are left to the loop below.
    for (; quads - done >= 4; done += 2) {
        const std::uint32_t first = group(from);
        const std::uint32_t second = group(from + 4);
        if (((first | second) & bad) != 0) {
            break;
        }
        std::uint64_t bytes = static_cast<std::uint64_t>(first) << 40U | static_cast<std::uint64_t>(second)
                                                                             << 16U;
        if constexpr (std::endian::native == std::endian::little) {
            bytes = std::byteswap(bytes);
        }
        std::memcpy(out, &bytes, sizeof bytes);
        from += 8;
        out += 6;
    }
    for (; done < quads; ++done) {
        const std::uint32_t bits = group(from);
        if ((bits & bad) != 0) {
            break;
        }
        out[0] = static_cast<std::uint8_t>(bits >> 16U);
        out[1] = static_cast<std::uint8_t>(bits >> 8U);
        out[2] = static_cast<std::uint8_t>(bits);
        from += 4;
        out += 3;
    }
    return done;
}

} // namespace

const base64_kernel& portable_kernel()
{
    static constexpr base64_kernel kernel{
        .name = "portable",
        .encode_blocks = encode_portable,
        .decode_blocks = decode_portable,
    };
    return kernel;
}

std::span<const base64_kernel* const> kernels()
{
    static const auto found = [] {
        std::vector<const base64_kernel*> made;
#if defined(__x86_64__)
        // The compiler's run-time asks the processor, and the system whether it saves the registers.
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vbmi")) {
            made.push_back(&avx512_kernel);
        }
        if (__builtin_cpu_supports("avx2")) {
            made.push_back(&avx2_kernel);
        }
#endif
        made.push_back(&portable_kernel());
        return made;
    }();
    return found;
}

const base64_kernel& best_kernel()
{
    static const base64_kernel& best = *kernels().front();
    return best;
}

std::uint8_t base64_value(char character)
{
    return base64_values[static_cast<unsigned char>(character)];
}

} // namespace gw::payloads
