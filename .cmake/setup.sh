# Sourced by the scripts that build: goes to the repository's root and installs what .dependencies lists and the system
# lacks.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_missing() {
    local package missing=() admin=()
    if ! command -v apt-get >/dev/null; then
        echo "Not a Debian system: install the equivalents of the packages in .dependencies yourself." >&2
        return
    fi
    for package in $(sed 's/#.*//' .dependencies); do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Packages are missing. As root: apt-get install ${missing[*]}" >&2
            return 1
        fi
        admin=(sudo)
    fi
    echo "Installing ${missing[*]}"
    "${admin[@]}" apt-get update -q
    "${admin[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

install_missing >&2
export CMAKE_GENERATOR="${CMAKE_GENERATOR:-Ninja}"
