import type { ReactNode } from "react"

function Icon({ path }: { readonly path: string }): ReactNode {
  return (
    <svg
      aria-hidden="true"
      viewBox="0 0 24 24"
      width="20"
      height="20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={path} />
    </svg>
  )
}

export const ChatIcon = (): ReactNode => <Icon path="M4 6h16M4 12h16M4 18h10" />
export const NewIcon = (): ReactNode => <Icon path="M12 5v14M5 12h14" />
export const CloseIcon = (): ReactNode => <Icon path="M6 6l12 12M18 6L6 18" />
export const DeleteIcon = (): ReactNode => <Icon path="M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7" />
export const SendIcon = (): ReactNode => <Icon path="M12 19V5M6 11l6-6 6 6" />
export const StopIcon = (): ReactNode => (
  <svg aria-hidden="true" viewBox="0 0 24 24" width="20" height="20" fill="currentColor">
    <rect x="6" y="6" width="12" height="12" rx="2" />
  </svg>
)
export const DownIcon = (): ReactNode => <Icon path="M12 5v14M6 13l6 6 6-6" />
